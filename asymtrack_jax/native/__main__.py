"""`python -m asymtrack_jax.native`: builds the native kernels for this machine."""

import argparse
from collections.abc import Sequence

from asymtrack_jax.errors import run_main
from asymtrack_jax.native.library import build


def main(arguments: Sequence[str] | None = None) -> None:
    """Builds, and says where to."""
    argparse.ArgumentParser(
        prog="python -m asymtrack_jax.native",
        description="Builds kernels that run the network faster on this machine's CPU, with the "
        "C++ compiler that $CXX names or that is found. Models then use them; ASYMTRACK_NATIVE=0 "
        "leaves everything to XLA. After an update of this package or of jaxlib, build again.",
    ).parse_args(arguments)
    print(f"built {build()}")


if __name__ == "__main__":
    run_main(main)
