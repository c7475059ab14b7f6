"""Command lines as dataclasses: one parser for every command, by tyro."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from asymtrack_jax.errors import InputError

Options = TypeVar("Options")


def parse(
    options: type[Options], arguments: Sequence[str], command: str, description: str | None
) -> Options:
    """Parses a command's arguments; exits with a message for those that do not fit.

    Args:
        options: a dataclass whose docstring says what each field does.
        arguments: without the command's name.
        command: its name, for the usage line.
        description: for `--help`.

    Raises:
        InputError: an argument is empty, such as that of an unset variable of a shell.
    """
    for previous, argument in zip(["", *arguments], arguments, strict=False):
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            raise InputError(f"{argument or previous or 'an argument'} is empty: give it a value")
    return tyro.cli(
        options,
        args=arguments,
        prog=f"asymtrack {command}",
        description=description,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _comma_separated(kind: type) -> Any:
    """A tuple written as `A,B` in one argument."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{kind.__name__.upper()},...",
        instance_from_str=lambda texts: tuple(kind(part) for part in texts[0].split(",")),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [",".join(map(str, value))],
    )


Integers = Annotated[tuple[int, ...], _comma_separated(int)]
Names = Annotated[tuple[str, ...], _comma_separated(str)]
