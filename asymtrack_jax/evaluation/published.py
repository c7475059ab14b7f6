"""Published numbers of trackers, from `published.csv`; they were not measured here."""

import csv
import dataclasses
import importlib.resources
from collections.abc import Mapping

from asymtrack_jax.evaluation.protocols import MEASURES


@dataclasses.dataclass(frozen=True)
class Published:
    """A tracker's published numbers on a dataset.

    Attributes:
        tracker: name of the tracker.
        percent: percent by measure, for the measures that the source gives.
        source: publication of the numbers.
    """

    tracker: str
    percent: Mapping[str, float]
    source: str


def published(dataset: str) -> list[Published]:
    """Returns the published numbers on a benchmark; empty if there are none."""
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
