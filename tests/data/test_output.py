import multiprocessing
import os
import signal

import pytest

from asymtrack_jax.data.output import whole_folder
from asymtrack_jax.errors import InputError


def test_a_folder_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "below" / "made"
    with whole_folder(path) as folder:
        (folder / "file").write_text("content")
        assert not path.exists()
    assert (path / "file").read_text() == "content"
    assert [left.name for left in path.parent.iterdir()] == ["made"]


def test_what_is_there_is_not_overwritten_unless_it_is_empty(tmp_path):
    with whole_folder(tmp_path / "empty") as folder:
        (folder / "file").touch()
    for path in (tmp_path / "empty", tmp_path / "empty" / "file"):
        with pytest.raises(InputError, match="is there already: remove it, or name another"):
            whole_folder(path).__enter__()
    assert (tmp_path / "empty" / "file").is_file()


def test_a_failure_leaves_nothing(tmp_path):
    def fail():
        with whole_folder(tmp_path / "made") as folder:
            (folder / "file").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(tmp_path.iterdir())


def fill_and_be_killed(path):
    with whole_folder(path) as folder:
        (folder / "half").mkdir()
        (folder / "half" / "file").touch()
        (folder / "file").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_left_is_removed_and_said_so(tmp_path, caplog):
    process = multiprocessing.get_context("spawn").Process(
        target=fill_and_be_killed, args=(tmp_path / "made",)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [left.name for left in tmp_path.iterdir()] == [".made.partial"]
    with whole_folder(tmp_path / "made") as folder:
        (folder / "whole").touch()
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["whole"]
    assert [left.name for left in tmp_path.iterdir()] == ["made"]
    assert "starting anew: removing" in caplog.text


def test_two_do_not_write_one_folder(tmp_path):
    with whole_folder(tmp_path / "made") as folder:
        (folder / "file").touch()
        with pytest.raises(InputError, match=r"another process is writing .*made"):
            whole_folder(tmp_path / "made").__enter__()
    assert (tmp_path / "made" / "file").is_file()
