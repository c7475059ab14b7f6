"""AsymTrack in JAX: efficient single-object visual tracking.

model = asymtrack_jax.load()
tracker = asymtrack_jax.Tracker(model)
tracker.init(frame, init_bbox)
bbox, score = tracker.update(next_frame)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asymtrack_jax.config import VARIANTS, ModelConfig
    from asymtrack_jax.errors import InputError
    from asymtrack_jax.images import normalise
    from asymtrack_jax.models.asymtrack import AsymTrack
    from asymtrack_jax.models.checkpoint import load_variables
    from asymtrack_jax.models.efficientmod import Modulation
    from asymtrack_jax.models.fuse import fuse
    from asymtrack_jax.models.head import Prediction
    from asymtrack_jax.tracking.model import Model, load
    from asymtrack_jax.tracking.track import TrackedVideo, track
    from asymtrack_jax.tracking.tracker import Tracker, TrackerState

__all__ = [
    "VARIANTS",
    "AsymTrack",
    "InputError",
    "Model",
    "ModelConfig",
    "Modulation",
    "Prediction",
    "TrackedVideo",
    "Tracker",
    "TrackerState",
    "fuse",
    "load",
    "load_variables",
    "normalise",
    "track",
]

__version__ = "0.2.0"

# Imported at first use, so that code without a network (data, metrics) never starts jax.
_MODULES = {
    "VARIANTS": "config",
    "AsymTrack": "models.asymtrack",
    "InputError": "errors",
    "Model": "tracking.model",
    "ModelConfig": "config",
    "Modulation": "models.efficientmod",
    "Prediction": "models.head",
    "TrackedVideo": "tracking.track",
    "Tracker": "tracking.tracker",
    "TrackerState": "tracking.tracker",
    "fuse": "models.fuse",
    "load": "tracking.model",
    "load_variables": "models.checkpoint",
    "normalise": "images",
    "track": "tracking.track",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
