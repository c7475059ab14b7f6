"""Benchmark cases: a network at one batch size and precision."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

FUNCTIONS = ("init_template", "step", "tracking", "video")
OURS = "asymtrack_jax"
BASELINES = ("onnxruntime", "torch", "torch.compile", "xla")  # xla: without native kernels
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class BenchmarkCase:
    """A network, batch size and precision that all backends run.

    Attributes:
        network: folder written by `network.write`.
        batch_size: images per call.
        precision: one of `config.PRECISIONS`.
        functions: functions to time, a selection of `FUNCTIONS`.
    """

    network: Path
    batch_size: int
    precision: str
    functions: tuple[str, ...] = FUNCTIONS

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Reads template and search crops, uint8 RGB, [B, Z, Z, 3] and [B, X, X, 3]."""
        with np.load(self.network / f"images_{self.batch_size}.npz") as arrays:
            return arrays["template"], arrays["search"]

    def to_json(self) -> str:
        """Serialises the case for another process."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "BenchmarkCase":
        """Restores the case that `to_json` serialised."""
        fields = json.loads(text)
        return cls(**{**fields, "network": Path(fields["network"])})
