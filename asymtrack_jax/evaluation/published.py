"""Numbers that others published, from `published.csv`: references, not measured here."""

import csv
import dataclasses
import importlib.resources
from collections.abc import Mapping

from asymtrack_jax.evaluation.protocols import MEASURES


@dataclasses.dataclass(frozen=True)
class Published:
    """A tracker's published numbers on a dataset.

    Attributes:
        tracker: its name.
        percent: percent by measure, those that the source gives.
        source: where they are published.
    """

    tracker: str
    percent: Mapping[str, float]
    source: str


def published(dataset: str) -> list[Published]:
    """The published numbers on a benchmark; none if the table has no row for it."""
    resource = importlib.resources.files("asymtrack_jax.evaluation") / "published.csv"
    rows = csv.DictReader(resource.read_text(encoding="utf-8").splitlines())
    return [
        Published(
            row["tracker"],
            {name: float(row[name]) for name in MEASURES if row[name]},
            row["source"],
        )
        for row in rows
        if row["dataset"] == dataset
    ]
