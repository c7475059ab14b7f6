"""Checkpoints of a training run: its resumable state (orbax), and its last and best network.

A checkpoint is the folder `checkpoints/STEP` that orbax writes, and `run.json` in it, which is
written last: the settings that determine the run, and a checksum of every file. Orbax would load
some damaged arrays without an error, and writes its own metadata before the arrays. The state of
the data pipeline is not stored: the next batch is determined by the seed and `state.step`.

Every process of a run must call these methods, and all must see the same file system.
"""

import contextlib
import dataclasses
import json
import logging
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging as absl_logging
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from asymtrack_jax.config import Config, ModelConfig, flat
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import write_atomically
from asymtrack_jax.models import checkpoint
from asymtrack_jax.tracking.calibration import KEY, Calibration
from asymtrack_jax.training.devices import raise_in_all_processes
from asymtrack_jax.training.state import TrainState

_RECORD = "run.json"
_SCORE = "validation/iou"
# Fields of `ModelConfig` that do not affect the shapes of the weights.
_CROPS = ("search_size", "template_size", "search_factor", "template_factor")

_saving = ocp.training.save_decision_policies
_log = logging.getLogger(__name__)


class Checkpoints:
    """Checkpoint manager of the run in `workdir`.

    Args:
        workdir: the run's directory.
        config: the run's configuration; `config.run` has the save policy.
    """

    def __init__(self, workdir: Path, config: Config):
        run = config.run
        self._workdir = workdir.absolute()
        self._config = config
        policy: Any = _saving.AnySavePolicy(
            [
                _saving.FixedIntervalPolicy(run.checkpoint_steps),
                _saving.ContinuousCheckpointingPolicy(
                    minimum_interval_secs=round(60 * run.checkpoint_minutes)
                ),
            ]
        )
        self._manager = ocp.training.Checkpointer(
            str(self._workdir / "checkpoints"),
            save_decision_policy=policy,  # typed Any: orbax annotates a narrower type
            cleanup_tmp_directories=True,
        )

    def close(self) -> None:
        """Closes orbax's checkpointer and its threads."""
        self._manager.close()

    def due(self, step: int) -> bool:
        """Returns whether the save policy asks for a checkpoint now, the same in all processes."""
        return self._manager.should_save(step)

    def save(self, state: TrainState) -> None:
        """Writes the state of the run synchronously, then deletes the oldest checkpoints.

        Earlier checkpoints stay usable if it is interrupted.

        Raises:
            OSError: the checkpoint cannot be written, as on a full disk.
        """
        step = int(state.step)
        with _plain_errors(self._folder(step)):
            try:
                self._manager.save(step, state, force=True, overwrite=True)
            except ValueError:
                with contextlib.suppress(ValueError):
                    self._manager.wait()  # would raise it once more when closed
                raise
        if jax.process_index() == 0:
            record = {"run": fingerprint(self._config), "files": _checksums(self._folder(step))}
            content = {"record": record, "checksum": _checksum(record)}
            path = self._folder(step) / _RECORD
            write_atomically(path, json.dumps(content, indent=1).encode())
        # Not orbax's LatestN policy, which deletes before the record is written.
        for old in self._manager.checkpoints[: -self._config.run.keep]:
            self._manager.delete(old)

    def restore(self, state: TrainState) -> TrainState:
        """Restores the last undamaged checkpoint, or returns `state` if none was completed.

        The first process chooses the checkpoint; all load it. Damaged later checkpoints are
        deleted with a warning, since the run will write those steps again.

        Args:
            state: state of the run before its first step. The restored arrays get its sharding,
                whatever they had when they were saved.

        Raises:
            InputError: the checkpoints belong to another run or are all damaged, or the first
                process failed.
        """
        steps = [saved.step for saved in self._manager.checkpoints]
        last = -1
        with raise_in_all_processes():
            if jax.process_index() == 0 and steps:
                last = self._last_undamaged(steps)
        last = int(multihost_utils.broadcast_one_to_all(np.int32(last)))
        restored: Any = state
        if last >= 0:
            target = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
            )
            restored = self._manager.load(last, target)
        for damaged in [step for step in steps if step > last]:
            self._manager.delete(damaged)
        return restored

    def export_last_and_best(
        self,
        variables: Any,
        step: int,
        scores: Mapping[str, float],
        calibration: Calibration | None = None,
    ) -> bool:
        """Writes the network to `last/`, and to `best/` if it is the best so far.

        `asymtrack_jax.load` reads both. Only the first process writes.

        Args:
            variables: `params` and `batch_stats` of the training form.
            step: number of steps taken.
            scores: validation scores, stored as metadata. The best network has the highest
                `validation/iou` among those of this run that were validated on the same pairs,
                resumed runs included.
            calibration: calibration of the network's scores, stored as metadata.

        Returns:
            Whether the network is the best so far; False in other processes than the first.
        """
        if jax.process_index() != 0:
            return False
        comparable = {
            "run": fingerprint(self._config),
            "validation": {
                "sources": list(self._config.data.validation),
                "pairs": self._config.run.validation_pairs,
            },
        }
        about = {"kind": "trained", "step": step, "scores": dict(scores), **comparable}
        if calibration is not None:
            about[KEY] = dataclasses.asdict(calibration)
        best = self._best_score(comparable)
        improved = best is None or scores[_SCORE] > best
        for name in ("last", "best") if improved else ("last",):
            checkpoint.save(
                self._workdir / name, self._config.model, variables, about, overwrite=True
            )
        return improved

    def _best_score(self, comparable: Mapping[str, Any]) -> float | None:
        """Returns the score of `best/`; None if there is none that is comparable."""
        folder = self._workdir / "best"
        if not (folder / checkpoint.FILE_NAME).exists():
            return None
        try:
            about = checkpoint.read(folder).metadata
            score = float(about["scores"][_SCORE])
        except (InputError, KeyError, TypeError, ValueError) as error:
            _log.warning("%s is damaged, and will be replaced: %s", folder, error)
            return None
        return score if all(about.get(name) == comparable[name] for name in comparable) else None

    def _folder(self, step: int) -> Path:
        return self._workdir / "checkpoints" / str(step)

    def _last_undamaged(self, steps: list[int]) -> int:
        """Returns the step of the last undamaged checkpoint; -1 if none was completed."""
        for step in reversed(steps):
            problem = self._problem(step)
            if problem is None:
                return step
            _log.warning("checkpoint %s is damaged: %s", self._folder(step), problem)
        if not any((self._folder(step) / _RECORD).exists() for step in steps):
            return -1  # the run was killed when it saved for the first time
        raise InputError(
            f"every checkpoint in {self._folder(steps[-1]).parent} is damaged; choose another "
            "workdir, or remove them to start again"
        )

    def _problem(self, step: int) -> str | None:
        """Describes the damage to a checkpoint's files; None if they are intact.

        Raises:
            InputError: the checkpoint belongs to another run.
        """
        folder = self._folder(step)
        try:
            content = json.loads((folder / _RECORD).read_text())
            record, checksum = content["record"], content["checksum"]
            run, files = dict(record["run"]), dict(record["files"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"{_RECORD}: {error!r}"
        if checksum != _checksum(record):
            return f"{_RECORD} was changed"
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
    """Returns the settings that determine what a run computes, by name, as JSON values.

    Settings that may change when a run is resumed are left out: where the data and the initial
    weights are, how data are read, validation, logging and checkpoints, and the number of epochs
    unless the learning rate schedule depends on it.
    """
    data = ("sources", "shares", "max_gap", "augmentation", "synthetic")
    sections = ("model.", "train.", "seed", *(f"data.{name}" for name in data))
    settings = {name: value for name, value in flat(config).items() if name.startswith(sections)}
    if config.train.schedule == "step":
        del settings["train.epochs"]
    return json.loads(json.dumps(settings, default=str))


def init_from(directory: Path, config: ModelConfig) -> dict[str, Any]:
    """Reads the initial variables of a run from a checkpoint of a network or a backbone.

    The sizes and factors of its crops may differ from those of the run.

    Args:
        directory: the checkpoint's directory.
        config: the run's network.

    Returns:
        `params` and `batch_stats` of the training form, as numpy arrays.

    Raises:
        InputError: there is no checkpoint, it is damaged, or its network differs from `config`.
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


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        f"  {name}: {old.get(name, 'not set')} -> {new.get(name, 'not set')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name, ...) != new.get(name, ...)
    ]


def _checksum(record: Any) -> int:
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())


def _checksums(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): zlib.crc32(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _RECORD
    }


@contextlib.contextmanager
def _plain_errors(folder: Path) -> Iterator[None]:
    """Raises errors of the operating system as `OSError`, without the threads' tracebacks.

    Tensorstore raises them as `ValueError`, and each of orbax's threads logs one.
    """
    before = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.FATAL)
    try:
        yield
    except ValueError as error:
        number = re.search(r"os_error_code='(\d+)'", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(folder)) from None
    finally:
        absl_logging.set_verbosity(before)
