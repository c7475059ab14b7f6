"""What both formats write."""

import json
from collections.abc import Mapping
from pathlib import Path

from asymtrack_jax.config import ModelConfig
from asymtrack_jax.files import write_atomically

CROPS = ("template_size", "template_factor", "search_size", "search_factor")


def write(directory: Path, config: ModelConfig, programs: Mapping[str, bytes]) -> list[Path]:
    """Writes programs by file name, and `tracker.json` with the crops' sides and factors.

    Returns:
        The files' paths.
    """
    crops = json.dumps({name: getattr(config, name) for name in CROPS}, indent=2)
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in {**programs, "tracker.json": crops.encode() + b"\n"}.items():
        write_atomically(directory / name, content)
    return [directory / name for name in (*programs, "tracker.json")]
