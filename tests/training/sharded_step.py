"""What one of two processes with four devices each does in `test_devices`, which starts them.

Run by `python -m tests.training.sharded_step DIRECTORY`, with JAX's environment variables.
"""

import contextlib
import dataclasses
import functools
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS, Config, TrainConfig
from asymtrack_jax.data.augment import Batch
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import layers
from asymtrack_jax.models.asymtrack import abstract_variables
from asymtrack_jax.training import devices
from asymtrack_jax.training.checkpoints import Checkpoints
from asymtrack_jax.training.state import create_state
from asymtrack_jax.training.step import make_train_step

MODEL = dataclasses.replace(
    VARIANTS["testing"], search_size=64, template_size=32, depths=(1, 1, 1), feature_dim=16
)
CONFIG = Config(MODEL, TrainConfig(batch_size=8, clip_norm=1e9))
OTHER = dataclasses.replace(CONFIG, seed=1)


@functools.cache
def start() -> dict:
    """Variables whose gradients are neither tiny nor wild."""
    draw = np.random.default_rng(0).standard_normal

    def random(path, leaf) -> np.ndarray:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        noise = draw(leaf.shape, np.float32)
        if name.endswith("/var") or (name.endswith(("/scale", "/gamma"))):
            return 1 + 0.1 * noise
        return 0.1 * noise if leaf.ndim == 1 else noise * np.prod(leaf.shape[:-1]) ** -0.5

    return jax.tree_util.tree_map_with_path(random, abstract_variables(MODEL))


def batch() -> Batch:
    """Normalised images and boxes, float64."""
    rng = np.random.default_rng(1)
    size, sides = CONFIG.train.batch_size, (MODEL.template_size, MODEL.search_size)
    images = [rng.standard_normal((size, side, side, 3)) for side in sides]
    return Batch(images[0], images[1], rng.uniform(0.2, 0.4, (size, 4)))


def start_in_double() -> dict:
    return jax.tree.map(lambda array: array.astype(np.float64), start())


def take_step(mesh, share: Batch):
    """State and metrics after one step; float64 (within `jax.enable_x64`), to compare exactly."""
    step = devices.jit_train_step(make_train_step(MODEL, CONFIG.train), mesh)
    state = devices.replicate(mesh, create_state(start_in_double(), CONFIG.train))
    return step(state, devices.put_batch(mesh, share))


def saved_state():
    """A state as if after seven steps."""
    state = create_state(start(), CONFIG.train)
    return dataclasses.replace(state, step=state.step + 7)


def arrays(tree) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def fail_in_the_second(this: int) -> None:
    with devices.raise_in_all_processes():
        if this == 1:
            raise InputError("bad frames")


def main(directory: Path) -> None:
    layers.depthwise_conv = layers.depthwise_conv_grouped  # quicker to compile
    devices.initialize_distributed()
    mesh, this, processes = devices.make_mesh(), jax.process_index(), jax.process_count()
    assert (mesh.size, processes) == (8, 2)

    # The first process alone chooses the checkpoint, which one device left.
    target = devices.replicate(mesh, create_state(start(), CONFIG.train))
    if this == 1:
        Checkpoints._problem = None  # pyright: ignore[reportAttributeAccessIssue]
    with contextlib.closing(Checkpoints(directory / "of_one", CONFIG)) as checkpoints:
        restored = checkpoints.restore(target)
    for found, expected in zip(arrays(restored), arrays(saved_state()), strict=True):
        np.testing.assert_array_equal(found, expected)
    shardings = {leaf.sharding for leaf in jax.tree.leaves(restored)}
    assert shardings == {devices.replicated_sharding(mesh)}

    # What the first process refuses, all refuse; and what the second alone fails at, all do.
    with contextlib.closing(Checkpoints(directory / "of_one", OTHER)) as checkpoints:
        refused = "another run" if this == 0 else "process 0 failed"
        with pytest.raises(InputError, match=refused):
            checkpoints.restore(target)
    with pytest.raises(InputError, match="bad frames" if this == 1 else "process 1 failed"):
        fail_in_the_second(this)

    # One process alone is asked to stop; both learn of it, at the next step at which they ask.
    asked = [devices.any_process(this == 1, step) for step in (9, 10, 20)]
    assert asked == [False, True, True]
    assert not devices.any_process(False, 30)

    share = jax.tree.map(lambda array: np.split(array, processes)[this], batch())
    with (
        jax.enable_x64(True),
        contextlib.closing(Checkpoints(directory / "of_eight", CONFIG)) as checkpoints,
    ):
        state, metrics = take_step(mesh, share)
        np.savez(directory / f"result{this}.npz", *arrays((state, metrics)))
        assert checkpoints.due(7)  # none was saved
        checkpoints.save(state)
    devices.wait_for_all()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
