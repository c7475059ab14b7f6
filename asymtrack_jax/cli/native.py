"""Builds the optional kernels for this machine's CPU.

They run the network faster than XLA alone. The C++ compiler is $CXX, or the system's. Models use
the kernels once they are built, unless ASYMTRACK_NATIVE=0. Build them again after an update of this
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
    """Options of `asymtrack native`; there are none."""


def main(arguments: Sequence[str]) -> None:
    """Builds the kernels, and prints the path of the library."""
    parse(NativeOptions, arguments, "native", __doc__)
    print(f"built {library.build()}")


@functools.cache
def suggest_native_kernels() -> None:
    """Prints a hint, once per process, if the kernels are not built but could be."""
    if library.wanted() and not library.path().is_file() and library.find_compiler():
        print(
            "hint: `asymtrack native` builds kernels that track faster on this CPU (once, seconds)",
            file=sys.stderr,
        )
