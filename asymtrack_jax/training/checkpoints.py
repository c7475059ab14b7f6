"""What a run keeps: checkpoints to go on from (orbax), and networks to track with.

A checkpoint is the folder `checkpoints/STEP` that orbax wrote, and in it `run.json`, which is
written last: the settings that determine the run, and the checksum of every file. Orbax would load
a damaged array without a word. The data needs no entry of its own: the next batch is the one after
`state.step`, and follows from it and the run's seed.

Every process of a run must call what is here, and all must see the same folder.
"""

import dataclasses
import json
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from asymtrack_jax.config import Config, ModelConfig
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import write_atomically
from asymtrack_jax.models import checkpoint
from asymtrack_jax.training.devices import agree
from asymtrack_jax.training.state import TrainState

_RECORD = "run.json"
_SCORE = "validation/iou"
# Fields of the model that its weights do not depend on.
_CROPS = ("search_size", "template_size", "search_factor", "template_factor")


class SaveSchedule:
    """When to save: every so many steps, and sooner if that takes too long.

    All processes of a run get the same answer, for they agree on the time (`devices.agree`).

    Args:
        every_steps: counted from the run's start, wherever it went on from.
        every_minutes: since the last save.
        clock: seconds.
    """

    def __init__(
        self, every_steps: int, every_minutes: float, clock: Callable[[], float] = time.monotonic
    ):
        self._every_steps, self._every_seconds = every_steps, 60 * every_minutes
        self._clock, self._last = clock, clock()

    def due(self, step: int, *, stop: bool = False) -> bool:
        """Whether to save after this step; if so, the caller does.

        Args:
            step: at which all processes ask.
            stop: whether it is the last one, for all processes.
        """
        late = self._clock() - self._last >= self._every_seconds
        due = stop or step % self._every_steps == 0 or agree(step, late)
        if due:
            self._last = self._clock()
        return due


class Checkpoints:
    """The checkpoints of the run in `workdir`, which is that of `config`."""

    def __init__(self, workdir: Path, config: Config):
        self._workdir = workdir.absolute()
        self._config = config
        self._manager = ocp.training.Checkpointer(
            str(self._workdir / "checkpoints"), cleanup_tmp_directories=True
        )

    def save(self, state: TrainState) -> None:
        """Keeps the state of a run, on disk when this returns; the oldest ones kept go.

        Whatever interrupts it, the checkpoints before stay usable.
        """
        step = int(state.step)
        self._manager.save(step, state, force=True, overwrite=True)
        if jax.process_index() == 0:
            folder = self._folder(step)
            record = {"run": fingerprint(self._config), "files": _checksums(folder)}
            write_atomically(folder / _RECORD, json.dumps(record, indent=1).encode())
        for old in self._manager.checkpoints[: -self._config.run.keep]:
            self._manager.delete(old)

    def restore(self, state: TrainState) -> TrainState:
        """The last state saved that is undamaged, or the one given if none was ever saved.

        Damaged ones after it are removed, with a warning: the run will come by there again.

        Args:
            state: of the run before its first step. What is restored lies on the same devices,
                wherever it was when it was saved.

        Raises:
            InputError: the checkpoints are another run's, or all are damaged.
        """
        steps = [saved.step for saved in self._manager.checkpoints]
        for step in reversed(steps):
            if problem := self._problem(step):
                logging.warning("checkpoint %s is damaged: %s", self._folder(step), problem)
                continue
            target = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
            )
            state = self._manager.load(step, target)  # pyright: ignore[reportAssignmentType]
            multihost_utils.assert_equal(np.int32(step), "processes go on from different steps")
            for damaged in steps[steps.index(step) + 1 :]:
                self._manager.delete(damaged)
            return state
        if steps:
            raise InputError(
                f"every checkpoint in {self._folder(steps[-1]).parent} is damaged; choose another "
                "workdir, or remove them to start again"
            )
        return state

    def keep(self, variables: Any, step: int, scores: Mapping[str, float]) -> bool:
        """Writes a network that `asymtrack_jax.load` reads, to `last/` and perhaps to `best/`.

        Args:
            variables: the training form's `params` and `batch_stats`.
            step: steps taken.
            scores: kept with it. The best is the one of the highest `validation/iou` in this run,
                through all its interruptions.

        Returns:
            Whether it is the best so far, to the first process.
        """
        if jax.process_index() != 0:
            return False
        run = fingerprint(self._config)
        about = {"kind": "trained", "step": step, "scores": dict(scores), "run": run}

        def write(name: str) -> None:
            checkpoint.save(
                self._workdir / name, self._config.model, variables, about, overwrite=True
            )

        write("last")
        if (self._workdir / "best" / checkpoint.FILE_NAME).exists():
            best = checkpoint.read(self._workdir / "best").metadata
            if best.get("run") == run and not scores[_SCORE] > best["scores"][_SCORE]:
                return False
        write("best")
        return True

    def _folder(self, step: int) -> Path:
        return self._workdir / "checkpoints" / str(step)

    def _problem(self, step: int) -> str | None:
        """What is wrong with a checkpoint's files, if anything; raises if it is another run's."""
        folder = self._folder(step)
        try:
            record = json.loads((folder / _RECORD).read_text())
            run, files = record["run"], record["files"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"{_RECORD}: {error!r}"
        found = _checksums(folder)
        if wrong := sorted(name for name in files if files[name] != found.get(name)):
            return f"missing or changed: {', '.join(wrong)}"
        if differing := _differences(run, fingerprint(self._config)):
            raise InputError(
                f"{folder} is a checkpoint of another run; choose another workdir, or set back:\n"
                + "\n".join(differing)
            )
        return None


def fingerprint(config: Config) -> dict[str, Any]:
    """The settings that determine what a run computes, by their names, as JSON gives them back.

    Left out is what a run may change on its way: where data lies and how it is read, what is
    validated, shown and kept, and how long a run is, as long as its learning rates do not tell.
    """
    train, data = dataclasses.asdict(config.train), dataclasses.asdict(config.data)
    if config.train.schedule == "step":
        del train["epochs"]
    names = ("sources", "shares", "max_gap", "augmentation", "synthetic")
    settings = {
        "model": dataclasses.asdict(config.model),
        "train": train,
        "data": {name: data[name] for name in names},
        "seed": config.seed,
    }
    return json.loads(json.dumps(dict(_flat("", settings)), default=str))


def init_from(directory: Path, config: ModelConfig) -> dict[str, Any]:
    """Variables of a converted tracker or backbone, to start a run from.

    Its crops may have other sizes than the run's.

    Returns:
        The training form's `params` and `batch_stats`, numpy arrays.

    Raises:
        InputError: there is no checkpoint, or it is damaged, or of another network than `config`.
    """
    start = checkpoint.read(directory)
    theirs, ours = (
        {f"model.{name}": value for name, value in vars(model).items() if name not in _CROPS}
        for model in (start.config, config)
    )
    if differing := _differences(theirs, ours):
        raise InputError(
            f"{directory} is of another network than this run's:\n" + "\n".join(differing)
        )
    return start.variables


def _flat(prefix: str, settings: Mapping[str, Any]):
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield prefix + name, value


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        f"  {name}: {old.get(name, 'not set')} -> {new.get(name, 'not set')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name, ...) != new.get(name, ...)
    ]


def _checksums(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): zlib.crc32(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _RECORD
    }
