"""Folders that are written whole or not at all."""

import contextlib
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from asymtrack_jax.errors import InputError

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Gives a folder to fill beside `path`, which becomes `path` when all is well.

    Whatever interrupts the filling, nothing is at `path`. What a killed process has left beside it
    is removed by the next one, which says so.

    Raises:
        InputError: there is something at `path`, or another process is filling its folder.
        OSError: no permission, or the disk is full.
    """
    path = path.absolute()
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path} is there already: remove it, or name another folder")
    partial = path.with_name(f".{path.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    lock = os.open(partial, os.O_RDONLY)  # falls with the process
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another process is writing {path}") from None
        try:
            if any(partial.iterdir()):
                _log.warning("starting anew: removing %s, which a stopped run left", partial)
                for left in partial.iterdir():
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield partial
            partial.rename(path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    finally:
        os.close(lock)
