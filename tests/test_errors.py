import signal
import subprocess
import sys

import pytest

from asymtrack_jax.errors import InputError, first_ten, run_main


def fail_with(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize("kind", [InputError, FileNotFoundError, FloatingPointError])
def test_what_the_user_can_mend_is_one_line(kind, monkeypatch):
    monkeypatch.delenv("ASYMTRACK_TRACEBACK", raising=False)
    with pytest.raises(SystemExit, match=r"^error: no such thing( \(ASYMTRACK_TRACEBACK=1.*)?$"):
        run_main(fail_with(kind("no such thing")))


@pytest.mark.parametrize("kind", [InputError, FileNotFoundError, FloatingPointError])
def test_its_traceback_can_be_asked_for(kind, monkeypatch):
    monkeypatch.setenv("ASYMTRACK_TRACEBACK", "1")
    with pytest.raises(kind):
        run_main(fail_with(kind("no such thing")))


def test_an_interruption_is_a_status_without_a_traceback(monkeypatch):
    monkeypatch.delenv("ASYMTRACK_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as exited:
        run_main(fail_with(KeyboardInterrupt()))
    assert exited.value.code == 130


def test_a_defect_keeps_its_traceback():
    with pytest.raises(KeyError):
        run_main(fail_with(KeyError("a defect")))


@pytest.mark.parametrize("status", [None, 0, 130])
def test_the_status_is_the_exit_status(status):
    with pytest.raises(SystemExit) as exited:
        run_main(lambda: status)
    assert exited.value.code == status


PRINT_A_LOT = """
from asymtrack_jax.errors import run_main
run_main(lambda: print("line\\n" * {lines}))
"""


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(lines):
    process = subprocess.Popen(
        [sys.executable, "-c", PRINT_A_LOT.format(lines=lines)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (128 + signal.SIGPIPE, b"")


def test_another_broken_pipe_is_reported():
    with pytest.raises(SystemExit, match=r"^error: .*Broken pipe"):
        run_main(fail_with(BrokenPipeError(32, "Broken pipe")))


def test_messages_are_bounded_and_keep_both_ends():
    message = str(InputError(f"file.pth: {'a' * 50_000_000} is unknown; remove it"))
    assert len(message) < 5000
    assert message.startswith("file.pth: a")
    assert message.endswith("a is unknown; remove it")


@pytest.mark.parametrize("error", [InputError, OSError])
def test_messages_cannot_steer_a_terminal(error):
    with pytest.raises(SystemExit) as exited:
        run_main(fail_with(error("höhe\x1b[2J\r\x07\u202e\udc80\nnext")))
    message = str(exited.value.code)
    assert message.startswith("error: höhe\\x1b[2J\\r\\x07\\u202e\\udc80\nnext")


def test_ten_items_are_listed_and_the_others_counted():
    assert first_ten([]) == ""
    assert first_ten(["a", 2]) == "\n  a\n  2"
    assert first_ten(range(10)).count("\n") == 10
    assert first_ten(range(12)).endswith("\n  9\n  and 2 more")
