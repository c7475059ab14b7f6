"""Writing a file whole or not at all."""

import contextlib
import fcntl
import glob
import os
import secrets
from pathlib import Path

_TOKEN_BYTES = 8


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file beside its name and moves it into place, so that no reader sees a part of it.

    It is on the disk when this returns, and a power cut leaves the old file or the new one. What
    killed processes have left of earlier attempts is removed.

    Raises:
        OSError: no such folder, no permission, or the disk is full; nothing is left behind.
    """
    _remove_leftovers(path)
    # Process ids would not do: two containers that share a folder may have the same.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(_TOKEN_BYTES)}.partial")
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
    _sync_folder(path.parent)


def _remove_leftovers(path: Path) -> None:
    """Removes partial files of `path` that no living process has locked."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'?' * 2 * _TOKEN_BYTES}.partial"):
        # An error means that somebody is writing it, has moved it, or that there are no locks.
        with contextlib.suppress(OSError), left.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_size:  # an empty one may be about to be locked
                left.unlink()


def _sync_folder(folder: Path) -> None:
    """Puts a folder's names on the disk, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
