"""Benchmarks by name: their readers and protocols."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from asymtrack_jax.data import synthetic
from asymtrack_jax.data.readers import folder, got10k, lasot, nfs, otb, tnl2k, trackingnet, uav123
from asymtrack_jax.data.readers.benchmark import ALL, Selection, table
from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError

DATA_VARIABLE = "ASYMTRACK_DATA"

Attributes = Mapping[str, Set[str]]  # names of sequences by attribute


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A dataset and its evaluation.

    Attributes:
        read: reads the selected sequences in the dataset's folder; raises `InputError`.
        protocol: name in `protocols.PROTOCOLS` of the protocol of its published numbers.
        layout: description of the expected files, for messages; empty if it needs no folder.
        folder: name of its folder within the folder of all datasets.
        num_sequences: number of sequences of the whole dataset; None if it is not fixed.
        prefix: prefix of a sequence's name in published result files.
        origin: x and y of the top-left pixel in published result files; 1 for OTB, whose
            annotation counts from 1.
        server: name of the evaluation server, if the annotation is withheld.
        attributes: reads the names of sequences by attribute.
    """

    read: Callable[[Path, Selection], list[Sequence]]
    protocol: str
    layout: str
    folder: str
    num_sequences: int | None = None
    prefix: str = ""
    origin: int = 0
    server: str | None = None
    attributes: Callable[[], Attributes] | None = None


def _rendered(_: Path, selection: Selection) -> list[Sequence]:
    return list(selection.of({each.name: each for each in synthetic.read_sequences()}).values())


def lasot_attributes() -> Attributes:
    """Returns the names of LaSOT's test sequences by each of its 14 attributes."""
    rows = table("lasot_attributes")
    return {
        name: frozenset(row["sequence"] for row in rows if row[column] == "1")
        for column, name in LASOT_ATTRIBUTES.items()
    }


LASOT_ATTRIBUTES = {
    "IV": "illumination variation",
    "POC": "partial occlusion",
    "DEF": "deformation",
    "MB": "motion blur",
    "CM": "camera motion",
    "ROT": "rotation",
    "BC": "background clutter",
    "VC": "viewpoint change",
    "SV": "scale variation",
    "FOC": "full occlusion",
    "FM": "fast motion",
    "OV": "out of view",
    "LR": "low resolution",
    "ARC": "aspect ratio change",
}
BENCHMARKS = {
    "synthetic": Benchmark(_rendered, "lasot", "", ""),
    "lasot": Benchmark(
        lasot.read_sequences, "lasot", lasot.LAYOUT, "lasot", 280, attributes=lasot_attributes
    ),
    "lasot_ext": Benchmark(lasot.read_extension, "lasot", lasot.LAYOUT, "lasot_ext", 150),
    "got10k_val": Benchmark(got10k.read_validation, "got10k", got10k.VAL_LAYOUT, "got10k", 180),
    "got10k_test": Benchmark(
        got10k.read_test, "got10k", got10k.TEST_LAYOUT, "got10k", 180, server="GOT-10k"
    ),
    "trackingnet": Benchmark(
        trackingnet.read_test,
        "trackingnet",
        trackingnet.TEST_LAYOUT,
        "trackingnet",
        511,
        server="TrackingNet",
    ),
    "otb100": Benchmark(otb.read_sequences, "otb", otb.LAYOUT, "otb100", 100, origin=1),
    "uav123": Benchmark(uav123.read_sequences, "otb", uav123.LAYOUT, "uav123", 123, "uav_"),
    "nfs": Benchmark(
        functools.partial(nfs.read_sequences, rate=30), "otb", nfs.LAYOUT, "nfs", 100, "nfs_"
    ),
    "nfs_240": Benchmark(
        functools.partial(nfs.read_sequences, rate=240), "otb", nfs.LAYOUT, "nfs", 100, "nfs_"
    ),
    "tnl2k": Benchmark(tnl2k.read_sequences, "otb", tnl2k.LAYOUT, "tnl2k", 700),
    "folder": Benchmark(folder.read_sequences, "lasot", folder.LAYOUT, "folder"),
}


if TYPE_CHECKING:
    BenchmarkName = str
else:
    BenchmarkName = Literal[tuple(BENCHMARKS)]  # the names, for command lines


def read_sequences(name: str, data_dir: Path | None, selection: Selection = ALL) -> list[Sequence]:
    """Reads the annotations of a benchmark.

    Args:
        name: name in `BENCHMARKS`.
        data_dir: folder of the dataset; None for `Benchmark.folder` within the folder that the
            environment variable ASYMTRACK_DATA names.
        selection: the sequences to read.

    Raises:
        InputError: no folder is named, its files are missing or invalid, or no sequence has a
            selected name.
    """
    benchmark = BENCHMARKS[name]
    if benchmark.layout and data_dir is None:
        root = os.environ.get(DATA_VARIABLE)
        if not root:
            raise InputError(
                f"where is {name}? Pass --data-dir, or set {DATA_VARIABLE} to the folder that "
                f"holds it as {benchmark.folder}/: {benchmark.layout}"
            )
        data_dir = Path(root) / benchmark.folder
    return benchmark.read(data_dir or Path(), selection)


def is_annotated(sequence: Sequence) -> bool:
    """Tells whether more than the first box is known, so that a result can be scored."""
    return len(sequence.boxes) == 1 or not np.isnan(sequence.boxes[1:]).all()
