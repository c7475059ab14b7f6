"""Writing of exported programs and of `tracker.json`, which describes them."""

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
    """Writes exported programs, and `tracker.json`, which describes their inputs and outputs.

    Args:
        directory: folder to write, created if it does not exist.
        config: sizes of the network.
        programs: serialised programs by file name.
        calibration: calibration of the scores; None if they are not calibrated.
        precision: precision of the programs.

    Returns:
        Paths of the files.
    """
    description = json.dumps(describe(config, calibration, precision), indent=2) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in {**programs, "tracker.json": description.encode()}.items():
        write_atomically(directory / name, content)
    return [directory / name for name in (*programs, "tracker.json")]


def describe(
    config: ModelConfig, calibration: Calibration | None, precision: str = "float32"
) -> dict[str, Any]:
    """Returns the content of `tracker.json`: what a tracker needs to know to use the programs.

    A crop covers a square of `ceil(sqrt(w * h) * factor)` frame pixels per side, resized to `size`
    pixels. Arguments are those of `write`.
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
