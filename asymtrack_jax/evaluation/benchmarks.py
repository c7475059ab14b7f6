"""Benchmarks by name: where their sequences are read from, and how they are judged."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from asymtrack_jax.data.readers import folder
from asymtrack_jax.data.sequences import Sequence


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A data set as it is evaluated.

    Attributes:
        read_sequences: reads the sequences below the data set's folder; raises `InputError`.
        protocol: name of the protocol in `protocols.PROTOCOLS` that its numbers are quoted in.
    """

    read_sequences: Callable[[Path], list[Sequence]]
    protocol: str


BENCHMARKS = {
    "folder": Benchmark(folder.read_sequences, protocol="lasot"),
}
