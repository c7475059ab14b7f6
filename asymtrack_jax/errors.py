"""The one error that bad input raises, and how a command line reports it."""

import os
import sys
from collections.abc import Callable, Sequence

_MAX_LENGTH = 4000  # characters of a message: about a screen


class InputError(ValueError):
    """Bad input from the user: the message names it, what was expected and what to do.

    Whatever a file contributes to the message, it is printable and of bounded length (`printable`).
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Makes a text safe to print: shortened in the middle, and all but lines escaped."""
    if len(text) > _MAX_LENGTH:
        left_out = len(text) - _MAX_LENGTH
        half = _MAX_LENGTH // 2
        text = f"{text[:half]}[... {left_out:,} characters ...]{text[-half:]}"
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def first_ten(items: Sequence[object]) -> str:
    """The end of a message that lists items, one per line: ten of them, and how many more."""
    more = [f"and {len(items) - 10} more"] if len(items) > 10 else []
    return "".join(f"\n  {item}" for item in [*items[:10], *more])


def run_main(main: Callable[[], int | None]) -> None:
    """Runs a command's `main` and exits with its status.

    An `InputError` or a refusal of the operating system (no such file, no permission, disk full)
    becomes one line on standard error and exit status 1; any other exception is a defect and
    keeps its traceback. With `ASYMTRACK_TRACEBACK=1` in the environment all do, in case that a
    defect is behind a refusal.
    """
    try:
        sys.exit(main())
    except (InputError, OSError) as error:
        if os.environ.get("ASYMTRACK_TRACEBACK") == "1":
            raise
        hint = " (ASYMTRACK_TRACEBACK=1 shows where)" if isinstance(error, OSError) else ""
        sys.exit(f"error: {printable(str(error))}{hint}")
