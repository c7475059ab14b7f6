"""Paths, and atomic writing of files and directories: readers see all of the content or none."""

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


def expand_home(path: Path) -> Path:
    """Replaces a leading `~` by the user's home directory.

    Raises:
        FileNotFoundError: the user has none, as in some containers.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(f"{path}: this user has no home directory; set HOME") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name and renames it, so that no reader sees a part of it.

    The content is on the disk when this returns; a power cut leaves the old file or the new one.
    Partial files of earlier, killed processes are removed.

    Raises:
        OSError: no such folder, no permission, or the disk is full; no partial file remains.
    """
    _remove_leftovers(path)
    # Not named by process id: containers that share a folder may use the same ids.
    partial = _partial(path)
    try:
        with partial.open("xb") as file:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)  # released when the process ends
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync(path.parent)


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yields a new directory beside `path`, which is renamed to `path` when the block ends.

    Its content is on the disk then. If the block raises, the directory is removed. Directories left
    by killed processes are named in a warning.

    Raises:
        InputError: `path` exists and is not an empty directory.
        OSError: no permission, or the disk is full.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path} exists already: remove it, or choose another")
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in _leftovers(path):
        _log.warning(
            "%s belongs to another process; remove it if that process is no longer running", left
        )
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
                raise InputError(f"another process has written {path} in the meantime") from error
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _sync(path.parent)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(_TOKEN_BYTES)}.partial")


def _leftovers(path: Path) -> Iterator[Path]:
    return path.parent.glob(f".{glob.escape(path.name)}.{'?' * 2 * _TOKEN_BYTES}.partial")


def _remove_leftovers(path: Path) -> None:
    """Removes partial files of `path` that no running process has locked."""
    for left in _leftovers(path):
        # An error means that another process is writing or has moved it, or no locks here.
        with contextlib.suppress(OSError), left.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_size:  # an empty one may be about to be locked
                left.unlink()


def _sync(path: Path) -> None:
    """Flushes a file, or a directory's entries, to the disk, if the file system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
