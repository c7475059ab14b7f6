"""Builds the optional kernels for this machine's CPU.

They run the network faster than XLA alone. The C++ compiler is the one that $CXX names, or the
system's. Every model then uses them, unless ASYMTRACK_NATIVE=0. Build again after an update of this
package or of jaxlib.
"""

import dataclasses
from collections.abc import Sequence

from asymtrack_jax.cli.arguments import parse
from asymtrack_jax.native.library import build


@dataclasses.dataclass(frozen=True)
class NativeOptions:
    """There is nothing to choose."""


def main(arguments: Sequence[str]) -> None:
    """Builds, and prints where."""
    parse(NativeOptions, arguments, "native", __doc__)
    print(f"built {build()}")
