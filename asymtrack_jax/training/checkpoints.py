"""Checkpoints that a run resumes from (orbax), and those of its network.

A checkpoint is the folder `checkpoints/STEP` that orbax writes, and in it `run.json`, which is
written last: the settings that determine the run, and a checksum of every file. Orbax would load
some damaged arrays without a word, and its own metadata is written before the arrays are. The data
needs no entry of its own: the next batch is the one after `state.step`, and follows from it and
the run's seed.

Every process of a run must call what is here, and all must see the same folder.
"""

import contextlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from asymtrack_jax.config import Config, ModelConfig, flat
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import write_atomically
from asymtrack_jax.models import checkpoint
from asymtrack_jax.training.devices import failing_together
from asymtrack_jax.training.state import TrainState

_RECORD = "run.json"
_SCORE = "validation/iou"
# Fields of the model that its weights do not depend on.
_CROPS = ("search_size", "template_size", "search_factor", "template_factor")

_saving = ocp.training.save_decision_policies


class Checkpoints:
    """The checkpoints of the run in `workdir`, which is that of `config`."""

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
            save_decision_policy=policy,  # whose type is not quite what orbax itself asks for
            cleanup_tmp_directories=True,
        )

    def close(self) -> None:
        """Ends orbax's threads."""
        self._manager.close()

    def due(self, step: int) -> bool:
        """Whether to save after this step, the same in all processes: by steps and by minutes."""
        return self._manager.should_save(step)

    def save(self, state: TrainState) -> None:
        """Writes the state of a run, which is on disk when this returns; the oldest ones go.

        Whatever interrupts it, the checkpoints before stay usable.

        Raises:
            OSError: it cannot be written, as on a full disk.
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
        # Not by orbax's LatestN, which deletes before the record is written.
        for old in self._manager.checkpoints[: -self._config.run.keep]:
            self._manager.delete(old)

    def restore(self, state: TrainState) -> TrainState:
        """The last state saved that is undamaged, or the one given if none was ever saved.

        The first process chooses the checkpoint, all load it. Damaged ones after it are removed,
        with a warning: the run will come by there again.

        Args:
            state: of the run before its first step. What is restored lies on the same devices,
                wherever it was when it was saved.

        Raises:
            InputError: the checkpoints are another run's, or all are damaged; or the first process
                failed.
        """
        steps = [saved.step for saved in self._manager.checkpoints]
        last = -1
        with failing_together():
            if jax.process_index() == 0 and steps:
                last = self._last_undamaged(steps)
        last = int(multihost_utils.broadcast_one_to_all(np.int32(last)))
        if last < 0:
            return state
        target = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
        )
        restored: Any = self._manager.load(last, target)
        for damaged in [step for step in steps if step > last]:
            self._manager.delete(damaged)
        return restored

    def export_last_and_best(self, variables: Any, step: int, scores: Mapping[str, float]) -> bool:
        """Writes a network that `asymtrack_jax.load` reads, to `last/` and perhaps to `best/`.

        Args:
            variables: the training form's `params` and `batch_stats`.
            step: number of steps taken.
            scores: stored with it. The best has the highest `validation/iou` of those that this run
                validated on the same pairs, through all its interruptions.

        Returns:
            Whether it is the best so far, to the first process.
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
        best = self._best_score(comparable)
        improved = best is None or scores[_SCORE] > best
        for name in ("last", "best") if improved else ("last",):
            checkpoint.save(
                self._workdir / name, self._config.model, variables, about, overwrite=True
            )
        return improved

    def _best_score(self, comparable: Mapping[str, Any]) -> float | None:
        """The score of `best/`; None if there is none to compare with."""
        folder = self._workdir / "best"
        if not (folder / checkpoint.FILE_NAME).exists():
            return None
        try:
            about = checkpoint.read(folder).metadata
            score = float(about["scores"][_SCORE])
        except (InputError, KeyError, TypeError, ValueError) as error:
            logging.warning("%s is damaged, and will be replaced: %s", folder, error)
            return None
        return score if all(about.get(name) == comparable[name] for name in comparable) else None

    def _folder(self, step: int) -> Path:
        return self._workdir / "checkpoints" / str(step)

    def _last_undamaged(self, steps: list[int]) -> int:
        for step in reversed(steps):
            problem = self._problem(step)
            if problem is None:
                return step
            logging.warning("checkpoint %s is damaged: %s", self._folder(step), problem)
        raise InputError(
            f"every checkpoint in {self._folder(steps[-1]).parent} is damaged; choose another "
            "workdir, or remove them to start again"
        )

    def _problem(self, step: int) -> str | None:
        """What is wrong with a checkpoint's files, if anything; raises if it is another run's."""
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
    """The settings that determine what a run computes, by their names, as JSON gives them back.

    Left out is what a run may change on its way: where data lies and how it is read, what is
    validated, shown and kept, and how long a run is, as long as its learning rates do not tell.
    """
    data = ("sources", "shares", "max_gap", "augmentation", "synthetic")
    sections = ("model.", "train.", "seed", *(f"data.{name}" for name in data))
    settings = {name: value for name, value in flat(config).items() if name.startswith(sections)}
    if config.train.schedule == "step":
        del settings["train.epochs"]
    return json.loads(json.dumps(settings, default=str))


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
    """Raises what the operating system refuses as `OSError`, without pages of tracebacks.

    Tensorstore raises it as `ValueError`, and each of orbax's threads logs it.
    """
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    except ValueError as error:
        number = re.search(r"os_error_code='(\d+)'", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(folder)) from None
    finally:
        logging.set_verbosity(before)
