"""Builds, locates and registers the shared library of `network.cc`."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import jax
import jaxlib.version

from asymtrack_jax.compilation import processor
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import expand_home, write_atomically

FOLDER = Path(__file__).parent
CACHE = Path("~/.cache/asymtrack_jax/native")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-shared", "-pthread"),
    # Sums may be reordered, for vectorisation; unlike with -ffast-math, NaN is preserved.
    *("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math"),
)
MACHINE_FLAGS = {
    "x86_64": ("-march=native", "-mprefer-vector-width=512"),
    "aarch64": ("-mcpu=native",),
    "arm64": ("-mcpu=native",),
}


def path() -> Path:
    """Returns the library's path for these sources, this jaxlib and this processor.

    Raises:
        FileNotFoundError: the user has no home directory.
    """
    sources = (file.read_text() for file in sorted(FOLDER.glob("*.[ch]*")))
    parts = (*sources, jaxlib.version.__version__, processor(), *_flags())
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return expand_home(CACHE) / f"network-{key[:16]}.so"


def build() -> Path:
    """Builds the library, writes it atomically, and returns its path.

    Raises:
        InputError: there is no C++ compiler, or it fails.
        OSError: the user has no home directory, or the library cannot be written.
    """
    compiler = find_compiler()
    if compiler is None:
        raise InputError(
            f"no C++ compiler found ({', '.join(COMPILERS)}): install one, such as g++, or set CXX"
        )
    target = path()
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [*compiler.split(), *_flags(), "-isystem", jax.ffi.include_dir()]
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / target.name
        try:
            done = subprocess.run(
                [*command, str(FOLDER / "network.cc"), "-o", str(built)],
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise InputError(f"CXX={compiler}: there is no such compiler") from error
        if done.returncode:
            raise InputError(f"{compiler} failed; it must support C++17:\n{done.stderr.strip()}")
        write_atomically(target, built.read_bytes())
    return target


def find_compiler() -> str | None:
    """Returns the C++ compiler's command: `$CXX`, else the first of `COMPILERS` on the path."""
    return os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)


def wanted() -> bool:
    """Tells whether to use the library if it is built: jax runs on CPU, and it is not disabled.

    `ASYMTRACK_NATIVE=0` disables it.
    """
    return os.environ.get("ASYMTRACK_NATIVE") != "0" and jax.default_backend() == "cpu"


def available() -> bool:
    """Tells whether models use the library: `wanted`, and built."""
    try:
        return wanted() and path().is_file()
    except FileNotFoundError:  # no home directory: nothing was built
        return False


@functools.cache
def register(library: Path) -> None:
    """Registers the library's functions with XLA, once per process."""
    loaded = ctypes.CDLL(str(library))
    for name in ("asymtrack_init_template", "asymtrack_score_maps"):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(loaded, name)), platform="cpu")


def _flags() -> tuple[str, ...]:
    return (*FLAGS, *MACHINE_FLAGS.get(platform.machine(), ()))
