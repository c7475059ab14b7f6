"""The training loop: training, validation, logging and checkpoints of one run.

A run is determined by its configuration and its `TrainState`: batch n depends only on the seed and
n, so that a run resumed after step n computes what an uninterrupted one would.
"""

import contextlib
import dataclasses
import functools
import io
import json
import logging
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from asymtrack_jax.config import Augmentation, Config
from asymtrack_jax.data.augment import Batch
from asymtrack_jax.data.datasets import check_roots, open_source, open_sources, shared_frames
from asymtrack_jax.data.pipeline import Batches
from asymtrack_jax.data.sampler import PairSampler
from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError, first_ten
from asymtrack_jax.evaluation.calibration import fit
from asymtrack_jax.evaluation.reliability import ScoredFrames
from asymtrack_jax.files import expand_home, write_atomically
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.asymtrack import init_variables
from asymtrack_jax.tracking.calibration import Calibration
from asymtrack_jax.training import devices
from asymtrack_jax.training.checkpoints import Checkpoints, init_from
from asymtrack_jax.training.metrics import MetricsWriter, log_to, read_scalars
from asymtrack_jax.training.pictures import draw_pairs
from asymtrack_jax.training.state import TrainState, create_state, with_layer_scale
from asymtrack_jax.training.step import make_train_step
from asymtrack_jax.training.validation import first_sequences, make_eval_step, mean_losses, track
from asymtrack_jax.weights import TINY

_VALIDATION_SEED = 2**32 - 1  # the same pairs in every run
_HELD_OUT = 1  # seed of the rendered validation sequences; training renders with 0
_MIN_SCORED = 100  # frames for a calibration

_log = logging.getLogger(__name__)


def train_and_evaluate(config: Config, workdir: Path) -> int:
    """Trains a network, or resumes the run in `workdir`.

    Writes to `workdir`: resumable `checkpoints/`, the networks `best/` and `last/` for
    `asymtrack_jax.load`, `config.json`, `log.txt`, `metrics.jsonl`, `tensorboard/`, and `pictures/`
    of pairs. SIGTERM and Ctrl-C stop the run after the current step, with a checkpoint.

    Args:
        config: the run's configuration.
        workdir: the run's directory, created if it does not exist.

    Returns:
        The exit status: 0, or 128 plus the signal's number.

    Raises:
        InputError: the data cannot be used, the batch does not divide over the devices, `workdir`
            has checkpoints of another run, or a loss or gradient is not finite.
        OSError: `workdir` cannot be written.
    """
    mesh = devices.make_mesh()
    devices.check_batch_size(config.train, mesh)
    with devices.raise_in_all_processes():  # indexing takes minutes, so check first
        check_roots((*config.data.sources, *_held_out_names(config)), config.data)
        config, state = _start(config)
    with (
        contextlib.closing(Checkpoints(workdir, config)) as checkpoints,
        log_to(workdir / "log.txt"),
    ):
        state = checkpoints.restore(devices.replicate(mesh, state))
        if jax.process_index() == 0:
            content = json.dumps(dataclasses.asdict(config), default=str, indent=2)
            write_atomically(workdir / "config.json", f"{content}\n".encode())
        with devices.raise_in_all_processes():
            data = _open_data(config)
        status = _train(config, workdir, mesh, data, checkpoints, state)
    devices.wait_for_all()
    return status


def _train(
    config: Config,
    workdir: Path,
    mesh: Mesh,
    data: "_Data",
    checkpoints: Checkpoints,
    state: TrainState,
) -> int:
    """Runs the steps after `state.step`; returns the exit status."""
    train, run = config.train, config.run
    start = int(state.step)
    put_batch = functools.partial(devices.put_batch, mesh)
    train_step = devices.jit_train_step(make_train_step(config.model, train), mesh)
    eval_step = devices.jit_eval_step(make_eval_step(config.model, train), mesh)
    jitter = config.data.augmentation
    unvaried = Augmentation(
        jitter.centre_jitter,
        jitter.scale_jitter,
        jitter.joint_grey,
        jitter.joint_flip,
        brightness=0.0,
        crop_flip=0.0,
    )

    def validate(step: int, state: TrainState) -> None:
        num_batches = max(1, run.validation_pairs // train.batch_size)
        pairs = _batches(config, data.validation, _VALIDATION_SEED, num_batches, unvaried)
        with contextlib.closing(pairs):
            losses = mean_losses(eval_step, state.variables, map(put_batch, pairs))
        scores = {f"validation/{name}": value for name, value in losses.items()}
        variables, calibration = jax.device_get(state.variables), None
        if data.sequences and jax.process_index() == 0:
            percent, frames = track(config.model, variables, data.sequences)
            scores |= {f"tracking/{name}": value for name, value in percent.items()}
            calibration = _calibration(frames)
        checkpoints.export_last_and_best(variables, step, scores, calibration)
        writer.scalars(step, scores)
        _log.info("step %d: %s", step, _listed(scores))

    batches = _batches(
        config, data.training, config.seed, train.num_steps, config.data.augmentation, start
    )
    with (
        _Signals() as signals,
        contextlib.closing(batches),
        MetricsWriter(workdir, start) as writer,
        tqdm(
            total=train.num_steps,
            initial=start,
            unit="step",
            desc="compiling (up to a minute)",
            disable=jax.process_index() != 0,
        ) as progress,
    ):
        if 0 < start < train.num_steps:
            _log.info("resuming after step %d; another --workdir starts a new run", start)
        elif start == 0 and run.init_from is not None:  # what training improves on
            validate(0, state)
        window, freed_memory, previous = _Window(train.batch_size), devices.FreedMemory(), None
        for step in range(start + 1, train.num_steps + 1):
            with window.waiting():
                batch = next(batches)
            state, metrics = train_step(state, put_batch(batch))
            window.add(metrics)
            if step == start + 1:  # its time includes compilation
                window.restart_clock(metrics)
                progress.set_description()
            freed_memory.limit()
            if previous is not None:  # one step late, so that the device does not wait
                _check_finite(workdir, *previous)
            previous = step, batch, metrics
            progress.update()

            last = step == train.num_steps
            stop = devices.any_process(signals.received is not None, step)
            draws = step % run.picture_steps == 0
            validates = step % (run.validation_epochs * train.steps_per_epoch) == 0 or last
            saves = stop or last or checkpoints.due(step)
            if draws or validates or saves:  # none of these is to see a broken network
                _check_finite(workdir, *previous)
            if step % run.log_steps == 0 or last or stop:
                values = window.close()
                writer.scalars(step, values)
                progress.set_postfix_str(_status(values))
                _log.debug("step %d: %s", step, _status(values))
            if draws:
                boxes, _ = eval_step(state.variables, put_batch(batch))
                shown = np.asarray(boxes)[: len(batch.boxes)]  # the first process's share
                writer.image(step, "pairs", draw_pairs(batch, shown))
            if validates:
                validate(step, state)
                window.restart_clock(None)
            if saves:
                checkpoints.save(state)
            if stop:
                _log.info("stopped after step %d; the same command resumes the run", step)
                return 128 + (signals.received or signal.SIGTERM)
    if jax.process_index() == 0:
        done = f"finished all {train.num_steps} steps"
        if start == train.num_steps:
            done = f"{workdir} had {done} before, so nothing is trained; choose another --workdir"
        _log.info("%s. %s", done, _summary(config, workdir, data.sequences))
    return 0


@dataclasses.dataclass(frozen=True)
class _Data:
    """Samplers of training and validation pairs, and the sequences to track."""

    training: PairSampler
    validation: PairSampler
    sequences: list[Sequence]


def _held_out_names(config: Config) -> tuple[str, ...]:
    """Returns the names of the validation sources, without repetition."""
    tracking = (config.data.tracking,) if config.run.tracking_sequences else ()
    return tuple(dict.fromkeys((*config.data.validation, *tracking)))


def _open_data(config: Config) -> _Data:
    data, run = config.data, config.run
    training = open_sources(data.sources, data)
    held_out = {name: open_source(name, data, _HELD_OUT) for name in _held_out_names(config)}
    if shared := shared_frames(training, list(held_out.values())):
        _log.warning(
            "%d sequences are both trained and validated on, so that validation says little about "
            "others; the sources folder_train and folder_val split a folder. First frames:%s",
            len(shared),
            first_ten(shared),
        )
    validation = [held_out[name] for name in data.validation]
    return _Data(
        PairSampler(training, data.shares, data.max_gap),
        PairSampler(validation, [1.0] * len(validation), data.max_gap),
        first_sequences(held_out[data.tracking], run.tracking_sequences, run.tracking_frames)
        if run.tracking_sequences
        else [],
    )


def _batches(
    config: Config,
    sampler: PairSampler,
    seed: int,
    num_batches: int,
    augmentation: Augmentation,
    first_batch: int = 0,
) -> Batches:
    """Returns this process's share of each batch, from `first_batch` on."""
    data = config.data
    return Batches(
        sampler,
        config.model,
        config.train.batch_size,
        num_batches,
        seed,
        first_batch,
        augmentation,
        shard=(jax.process_index(), jax.process_count()),
        num_workers=data.num_workers,
        cache_bytes=data.cache_bytes,
        max_unreadable=data.max_unreadable,
    )


def _start(config: Config) -> tuple[Config, TrainState]:
    """Returns the configuration with the network's sizes, and the state before the first step."""
    run = config.run
    if run.init_from is not None:
        directory = TINY if run.init_from == "package" else expand_home(run.init_from)
        if run.model_from_init:
            model = checkpoint.read(directory).config
            run = dataclasses.replace(run, model_from_init=False)
            config = dataclasses.replace(config, model=model, run=run)
        variables = init_from(directory, config.model)
    else:
        variables = init_variables(config.model, config.seed)
    if config.train.layer_scale is not None:
        params = with_layer_scale(variables["params"], config.train.layer_scale)
        variables = {**variables, "params": params}
    return config, create_state(variables, config.train)


def _calibration(frames: ScoredFrames) -> Calibration | None:
    """Fits a calibration to the frames that were tracked; None, with a message, if it cannot."""
    try:
        if len(frames.scores) < _MIN_SCORED:
            raise InputError(f"{_MIN_SCORED} tracked frames are needed, not {len(frames.scores)}")
        return fit(frames)
    except InputError as error:
        _log.info("scores are left uncalibrated: %s", error)
        return None


def _summary(config: Config, workdir: Path, sequences: list[Sequence]) -> str:
    """Compares the best network with the initial weights, and names a command to look further."""
    best = checkpoint.read(workdir / "best").metadata
    runs = read_scalars(workdir, 0), best["scores"]
    labels = {"validation/iou": "validation IoU", "tracking/success_auc": "success AUC"}
    changes = [
        f"{label} {' -> '.join(f'{scores[name]:.4g}' for scores in runs if name in scores)}"
        for name, label in labels.items()
        if name in best["scores"]
    ]
    which = f"step {best['step']}" if best["step"] else "the initial weights, which are the best"
    folder = expand_home(config.data.roots.folder)
    names = [Path(sequence.name).parent.parent.name for sequence in sequences]
    command, what = ["track"], "it on a rendered clip"
    own = config.data.tracking in ("folder", "folder_val")
    if own and names and (folder / names[0]).is_dir():  # not prepared records
        command = ["evaluate", "--dataset", "folder", "--data-dir", str(folder)]
        command += ["--sequences", ",".join(names), "--output", str(workdir / "results")]
        what = "its tracks"
    command = shlex.join(["asymtrack", *command, "--checkpoint", str(workdir / "best")])
    return f"best/ ({which}): {', '.join(changes)}. To see {what}: {command}"


class _Window:
    """Metrics and timing of the steps since the last logged values, without validation."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._metrics: list[dict[str, Any]] = []
        self.restart_clock(None)

    def restart_clock(self, metrics: Any) -> None:
        """Restarts the timing once `metrics` are computed."""
        jax.block_until_ready(metrics)
        self._timed, self._waited, self._start = 0, 0.0, time.perf_counter()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Adds the time spent in the block to the time waited for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    def add(self, metrics: dict[str, Any]) -> None:
        """Adds a step's metrics, which may still be being computed."""
        self._metrics.append(metrics)
        self._timed += 1

    def close(self) -> dict[str, float]:
        """Returns the means over the window, and starts the next window."""
        steps, self._metrics = jax.device_get(self._metrics), []
        seconds = time.perf_counter() - self._start
        means = {name: float(np.mean([step[name] for step in steps])) for name in steps[0]}
        means["pairs_per_second"] = self._timed * self._batch_size / seconds
        means["data_wait"] = self._waited / seconds
        self.restart_clock(None)
        return means


class _Signals:
    """Signal handler that records the first SIGTERM or Ctrl-C; a second one acts as usual.

    Attributes:
        received: number of the received signal; None before one.
    """

    received: int | None = None

    def __enter__(self) -> "_Signals":
        numbers = signal.SIGTERM, signal.SIGINT
        self._before = {number: signal.signal(number, self._record) for number in numbers}
        return self

    def _record(self, number: int, _: Any) -> None:
        self.received = number
        self.__exit__()

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _check_finite(workdir: Path, step: int, batch: Batch, metrics: dict[str, Any]) -> None:
    """Raises `InputError` if the step's loss or gradient is not finite, and saves its batch."""
    if metrics["finite"]:
        return
    folder = workdir / "not_finite"
    folder.mkdir(exist_ok=True)
    path = folder / f"step_{step}_process_{jax.process_index()}.npz"
    values = {name: float(value) for name, value in metrics.items()}
    content = io.BytesIO()
    np.savez_compressed(content, **batch._asdict(), metrics=json.dumps(values))
    write_atomically(path, content.getvalue())
    raise InputError(
        f"step {step}: the loss or its gradient is not finite ({_listed(values)}). Its batch is in "
        f"{path}. The same command resumes from the last checkpoint and would fail again at this "
        "step: lower config.train.learning_rate, or inspect the batch"
    )


def _status(values: dict[str, float]) -> str:
    return (
        f"loss {values['total']:.3f}, IoU {values['iou']:.3f}, "
        f"{values['pairs_per_second']:.1f} pairs/s, {values['data_wait']:.0%} waiting for data"
    )


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
