"""The one error that bad input raises, and how a command line reports it."""

import sys
from collections.abc import Callable


class InputError(ValueError):
    """Bad input from the user: the message names it, what was expected and what to do."""


def run_main(main: Callable[[], int | None]) -> None:
    """Runs a command's `main` and exits with its status.

    An `InputError` or a refusal of the operating system (no such file, no permission, disk full)
    becomes one line on standard error and exit status 1; any other exception is a defect and
    keeps its traceback.
    """
    try:
        sys.exit(main())
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")
