"""Writing files and directories whole or not at all."""

import contextlib
import fcntl
import glob
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from asymtrack_jax.errors import InputError

_TOKEN_BYTES = 8

_log = logging.getLogger(__name__)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file beside its name and moves it into place, so that no reader sees a part of it.

    It is on the disk when this returns, and a power cut leaves the old file or the new one. What
    killed processes have left of earlier attempts is removed.

    Raises:
        OSError: no such folder, no permission, or the disk is full; nothing is left behind.
    """
    _remove_leftovers(path)
    # Process ids would not do: two containers that share a folder may have the same.
    partial = _partial(path)
    try:
        with partial.open("xb") as file:
            with contextlib.suppress(OSError):  # not every network's file system has locks
                fcntl.flock(file, fcntl.LOCK_EX)  # falls with the process
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync(path.parent)


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Gives a new directory beside `path`, which is renamed to `path` when the block ends.

    It is on the disk then. If the block raises, nothing is left. What a killed process left is
    named in a warning.

    Raises:
        InputError: there is something at `path`, other than an empty directory.
        OSError: no permission, or the disk is full.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path} is there already: remove it, or name another")
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in _leftovers(path):
        _log.warning("%s is of another process, or a stopped one left it: then remove it", left)
    partial = _partial(path)
    partial.mkdir()
    try:
        yield partial
        for made in partial.rglob("*"):
            _sync(made)
        try:
            partial.rename(path)
        except OSError as error:
            if path.exists():
                raise InputError(f"another process has written {path} meanwhile") from error
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _sync(path.parent)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(_TOKEN_BYTES)}.partial")


def _leftovers(path: Path) -> Iterator[Path]:
    return path.parent.glob(f".{glob.escape(path.name)}.{'?' * 2 * _TOKEN_BYTES}.partial")


def _remove_leftovers(path: Path) -> None:
    """Removes partial files of `path` that no living process has locked."""
    for left in _leftovers(path):
        # An error means that somebody is writing it, has moved it, or that there are no locks.
        with contextlib.suppress(OSError), left.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_size:  # an empty one may be about to be locked
                left.unlink()


def _sync(path: Path) -> None:
    """Puts a file, or a directory's names, on the disk, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
