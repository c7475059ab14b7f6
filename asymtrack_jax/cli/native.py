"""Builds the optional kernels for this machine's CPU.

They run the network faster than XLA alone. The C++ compiler is the one that $CXX names, or the
system's. Every model then uses them, unless ASYMTRACK_NATIVE=0. Build again after an update of this
package or of jaxlib.
"""

import dataclasses
import functools
import sys
from collections.abc import Sequence

from asymtrack_jax.cli.arguments import parse
from asymtrack_jax.native import library


@dataclasses.dataclass(frozen=True)
class NativeOptions:
    """There is nothing to choose."""


def main(arguments: Sequence[str]) -> None:
    """Builds, and prints where."""
    parse(NativeOptions, arguments, "native", __doc__)
    print(f"built {library.build()}")


@functools.cache
def suggest_native_kernels() -> None:
    """Prints one line, once per process, where the kernels are not built but could be."""
    if library.wanted() and not library.path().is_file() and library.find_compiler():
        print(
            "hint: `asymtrack native` builds kernels that track faster on this CPU (once, seconds)",
            file=sys.stderr,
        )
