"""Parsing of command lines into options dataclasses, by tyro."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from asymtrack_jax.errors import InputError

Options = TypeVar("Options")


def parse(
    options: type[Options], arguments: Sequence[str], command: str, description: str | None
) -> Options:
    """Parses a command's arguments; exits with a message if they are not valid.

    Args:
        options: dataclass of the options; the attributes in its docstring are their help texts.
        arguments: command-line arguments after the command's name.
        command: name of the command, for the usage line.
        description: description of the command, for `--help`.

    Raises:
        InputError: an argument is empty, for instance because a shell variable is not set.
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
    """Returns the parser of a tuple written as `A,B` in one argument."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{kind.__name__.upper()},...",
        instance_from_str=lambda texts: tuple(kind(part) for part in texts[0].split(",")),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [",".join(map(str, value))],
    )


Integers = Annotated[tuple[int, ...], _comma_separated(int)]
Names = Annotated[tuple[str, ...], _comma_separated(str)]
