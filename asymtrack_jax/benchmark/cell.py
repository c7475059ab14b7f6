"""What one set of contestants runs: a network, a batch size and a precision, as files in a folder.

The folder is how it gets to the contestants' processes, which may be of other interpreters: reading
it needs numpy and safetensors alone.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FUNCTIONS = ("init_template", "step", "tracking", "video")
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class Cell:
    """One set of contestants' work.

    Attributes:
        network: folder of the network's files (`network.write`).
        folder: for the inputs, and for what each contestant leaves.
        model: fields of the network's `ModelConfig`.
        batch_size: images a call.
        precision: one of `config.PRECISIONS`.
        functions: some of `FUNCTIONS`, to time.
    """

    network: Path
    folder: Path
    model: dict[str, Any]
    batch_size: int
    precision: str
    functions: Sequence[str] = FUNCTIONS

    def write(self) -> None:
        """Writes what `read` needs, and random images of the network's sizes."""
        self.folder.mkdir(parents=True)
        draw = np.random.default_rng(0).integers
        template, search = (
            draw(0, 256, (self.batch_size, side, side, 3), np.uint8)
            for side in (self.model["template_size"], self.model["search_size"])
        )
        np.savez(self.folder / "images.npz", template=template, search=search)
        (self.folder / "cell.json").write_text(json.dumps(dataclasses.asdict(self), default=str))

    @classmethod
    def read(cls, folder: Path) -> "Cell":
        """The cell that was written to a folder."""
        fields = json.loads((folder / "cell.json").read_text())
        return cls(**{**fields, "network": Path(fields["network"]), "folder": folder})

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Template and search crops, uint8 RGB, [B, Z, Z, 3] and [B, X, X, 3]."""
        with np.load(self.folder / "images.npz") as arrays:
            return arrays["template"], arrays["search"]
