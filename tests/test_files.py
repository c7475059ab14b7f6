import os
import stat
import subprocess
import sys

import pytest

from asymtrack_jax import files
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import atomic_directory, write_atomically


def test_replaces_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fill_disk(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fill_disk)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_the_name_and_then_the_name(tmp_path, monkeypatch):
    path = tmp_path / "file"
    synced = []

    def sync(descriptor):
        status = os.fstat(descriptor)
        synced.append((stat.S_ISDIR(status.st_mode), path.exists(), status.st_size))

    monkeypatch.setattr(os, "fsync", sync)
    write_atomically(path, b"new")
    (is_folder, moved, size), (then_folder, then_moved, _) = synced
    assert (is_folder, moved, size) == (False, False, 3)
    assert (then_folder, then_moved) == (True, True)


KILLED = """
import os, signal, sys
from pathlib import Path
from asymtrack_jax.files import write_atomically
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(Path(sys.argv[1]), b"half of it")
"""


def test_what_a_killed_process_left_is_removed(tmp_path):
    path, other = tmp_path / "[file]", tmp_path / "[file].txt"
    for name in (path, other):
        subprocess.run([sys.executable, "-c", KILLED, name], timeout=60, check=False)
    assert len(list(tmp_path.iterdir())) == 2
    write_atomically(path, b"new")
    (left,) = set(tmp_path.iterdir()) - {path}
    assert left.name.startswith(".[file].txt.")


def test_what_a_living_process_is_writing_stays(tmp_path, monkeypatch):
    path = tmp_path / "file"
    sync = os.fsync

    def write_again(descriptor):
        monkeypatch.setattr(os, "fsync", sync)
        write_atomically(path, b"inner")
        assert path.read_bytes() == b"inner"

    monkeypatch.setattr(os, "fsync", write_again)
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as in any two containers
    write_atomically(path, b"outer")
    assert path.read_bytes() == b"outer"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    write_atomically(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_directory_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "below" / "made"
    with atomic_directory(path) as folder:
        (folder / "file").write_text("content")
        assert not path.exists()
    assert (path / "file").read_text() == "content"
    assert list(path.parent.iterdir()) == [path]


def test_a_directory_replaces_nothing_but_an_empty_one(tmp_path):
    with atomic_directory(tmp_path / "empty") as folder:
        (folder / "file").touch()
    for path in (tmp_path / "empty", tmp_path / "empty" / "file"):
        with pytest.raises(InputError, match="exists already: remove it, or choose another"):
            atomic_directory(path).__enter__()
    assert (tmp_path / "empty" / "file").is_file()


def test_the_first_of_two_processes_writes_a_directory(tmp_path):
    def fill(name):
        with atomic_directory(tmp_path / "made") as folder:
            if name == "slow":
                fill("fast")
            (folder / name).touch()

    with pytest.raises(InputError, match=r"another process has written .*made in the meantime"):
        fill("slow")
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "fast"]


def test_a_failure_leaves_no_directory_and_a_killed_process_s_is_named(tmp_path, caplog):
    def fail():
        with atomic_directory(tmp_path / "made[1]") as folder:
            (folder / "file").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(tmp_path.iterdir())
    assert not caplog.text
    left = tmp_path / ".made[1].0123456789abcdef.partial"
    left.mkdir()
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert f"{left} belongs to another process; remove it if" in caplog.text
    assert left.is_dir()
