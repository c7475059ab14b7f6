"""What both formats write."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asymtrack_jax.config import ModelConfig
from asymtrack_jax.files import write_atomically
from asymtrack_jax.tracking.calibration import Calibration


def write(
    directory: Path,
    config: ModelConfig,
    programs: Mapping[str, bytes],
    calibration: Calibration | None,
    precision: str = "float32",
) -> list[Path]:
    """Writes programs by file name, and `tracker.json`, which describes what they take and give.

    Returns:
        The files' paths.
    """
    description = json.dumps(describe(config, calibration, precision), indent=2) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in {**programs, "tracker.json": description.encode()}.items():
        write_atomically(directory / name, content)
    return [directory / name for name in (*programs, "tracker.json")]


def describe(
    config: ModelConfig, calibration: Calibration | None, precision: str = "float32"
) -> dict[str, Any]:
    """All that a program of another project needs to know to track with the exported ones.

    A crop's side in the frame is `ceil(sqrt(w * h) * factor)` pixels, its size that of the image.
    """
    return {
        "template_size": config.template_size,
        "template_factor": config.template_factor,
        "search_size": config.search_size,
        "search_factor": config.search_factor,
        "crops": {
            "dtype": "uint8",
            "layout": "NHWC",
            "channels": "RGB",
            "outside_the_frame": 0,
        },
        "boxes": {
            "dtype": "float32",
            "format": "cxcywh",
            "units": "normalised coordinates of the search crop: 0, 0 is its top left corner",
        },
        "scores": {
            "dtype": "float32",
            "meaning": "expected IoU" if calibration else "raw: rises and falls with the IoU",
        },
        "precision": precision,
    }
