"""The error that bad input raises, and its report on the command line."""

import os
import select
import signal
import sys
from collections.abc import Callable, Sequence

_MAX_LENGTH = 4000  # characters of a message: about one screen


class InputError(ValueError):
    """Bad input from the user; the message names the input, what was expected and what to do.

    The message is made `printable`, since it may quote the content of a file.
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Shortens a text in its middle and escapes unprintable characters other than line breaks."""
    if len(text) > _MAX_LENGTH:
        left_out = len(text) - _MAX_LENGTH
        half = _MAX_LENGTH // 2
        text = f"{text[:half]}[... {left_out:,} characters ...]{text[-half:]}"
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def first_ten(items: Sequence[object]) -> str:
    """Formats the first ten items, one indented line each, and the number of further ones."""
    more = [f"and {len(items) - 10} more"] if len(items) > 10 else []
    return "".join(f"\n  {item}" for item in [*items[:10], *more])


def _output_is_closed() -> bool:
    """Tells whether nobody reads standard output; what is left of it is then discarded."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    closed = bool(poll.poll(0))  # the error of a pipe without a reader
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return closed


def run_main(main: Callable[[], int | None]) -> None:
    """Runs a command's `main` and exits with its status.

    An `InputError`, an `OSError` (no such file, no permission, disk full) or a `FloatingPointError`
    (weights whose predictions are not finite) becomes one message on standard error and exit status
    1, and Ctrl-C status 130 (without a message); any other exception is a defect and keeps its
    traceback. With `ASYMTRACK_TRACEBACK=1` in the environment all of them do. If the reader of
    standard output has ended, as in `asymtrack --help | head`, the command ends too, without a
    message.
    """
    try:
        try:
            status = main()
        finally:
            sys.stdout.flush()  # Python's own at exit would only warn
        sys.exit(status)
    except (InputError, OSError, FloatingPointError, KeyboardInterrupt) as error:
        if isinstance(error, BrokenPipeError) and _output_is_closed():
            sys.exit(128 + signal.SIGPIPE)
        if os.environ.get("ASYMTRACK_TRACEBACK") == "1":
            raise
        if isinstance(error, KeyboardInterrupt):
            sys.exit(128 + signal.SIGINT)
        hint = "" if isinstance(error, InputError) else " (ASYMTRACK_TRACEBACK=1 shows where)"
        sys.exit(f"error: {printable(str(error))}{hint}")
