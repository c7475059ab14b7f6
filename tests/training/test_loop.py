"""Whole runs of `train.py` on rendered sequences: to the end, stopped, killed, and gone on with."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import jax
import numpy as np
import pytest

import asymtrack_jax
from asymtrack_jax.config import VARIANTS, Config
from asymtrack_jax.configs.loading import load_config
from asymtrack_jax.data import datasets
from asymtrack_jax.data.augment import Batch
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation.reliability import ScoredFrames
from asymtrack_jax.models import checkpoint
from asymtrack_jax.training import devices, loop
from asymtrack_jax.training.state import TrainState
from asymtrack_jax.weights import TINY

ROOT = Path(__file__).parent.parent.parent
NUM_STEPS = 8
TIMEOUT = 600  # seconds, of a loaded machine


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Callable[..., subprocess.Popen]:
    """Starts a run in a folder; what one run compiles the next ones find."""
    cache = str(tmp_path_factory.mktemp("compiled"))
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def run(workdir: Path, *changes: str, config: str = "configs/testing.py") -> subprocess.Popen:
        command = [sys.executable, "train.py", "--config", config]
        return subprocess.Popen(
            [*command, "--workdir", str(workdir), "--config.run.checkpoint_steps=3", *changes],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory) -> Path:
    """Folder of a run that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    process = start(workdir)
    output = finish(process)
    assert process.returncode == 0, output
    return workdir


def write_frames(folder: Path, rng: np.random.Generator) -> None:
    """Writes twenty frames of noise."""
    folder.mkdir(parents=True)
    for number in range(20):
        image = rng.integers(0, 255, (64, 96, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), image)


def finish(process: subprocess.Popen) -> str:
    """What a run printed, once it has ended; one that does not end is killed."""
    try:
        return process.communicate(timeout=TIMEOUT)[0]
    finally:
        process.kill()


def wait_for(process: subprocess.Popen, path: Path) -> None:
    end = time.monotonic() + TIMEOUT
    while not path.exists():
        assert process.poll() is None, finish(process)
        if time.monotonic() > end:
            process.kill()
            pytest.fail(f"no {path} after {TIMEOUT} s: {finish(process)}")
        time.sleep(0.01)


def metrics(workdir: Path, name: str) -> list[dict]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if name in line]


def steps(workdir: Path, name: str) -> list[int]:
    return [line["step"] for line in metrics(workdir, name)]


def values(workdir: Path, name: str) -> list[float]:
    return [line[name] for line in metrics(workdir, name)]


def test_leaves_all_that_it_promises(whole: Path):
    assert steps(whole, "total") == list(range(1, NUM_STEPS + 1))
    assert steps(whole, "validation/iou") == [4, 8]
    assert steps(whole, "tracking/success_auc") == [4, 8]
    assert len(list(whole.glob("pictures/*.png"))) == 2
    assert {path.name for path in whole.glob("checkpoints/*")} == {"3", "6", "8"}
    assert any(whole.glob("tensorboard/*"))
    assert asymtrack_jax.load(whole / "best").config == VARIANTS["testing"]
    about = checkpoint.read(whole / "last").metadata
    assert about["step"] == NUM_STEPS
    assert 0 <= about["scores"]["tracking/success_auc"] <= 100

    config = json.loads((whole / "config.json").read_text())
    assert (config["train"]["batch_size"], config["data"]["sources"]) == (4, ["synthetic"])
    log = (whole / "log.txt").read_text()
    assert len(re.findall(r"step \d: loss .* waiting for data\n", log)) == NUM_STEPS
    assert not re.search(r"\r|it/s|step/s", log)


def test_fine_tuning_is_compared_with_its_start(start, whole, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(1, 7):
        folder = tmp_path / "mine" / f"clip{number}"
        write_frames(folder / "img", rng)
        (folder / "groundtruth.txt").write_text(20 * "20,30,16,12\n")
    process = start(
        tmp_path / "run",
        f"--config.data.roots.folder={tmp_path / 'mine'}",
        f"--config.data.cache={tmp_path / 'cache'}",
        f"--config.run.init_from={whole / 'last'}",
        "--config.train.batch_size=4",
        "--config.train.epochs=1",
        "--config.train.pairs_per_epoch=8",
        "--config.train.warmup_steps=1",
        "--config.run.validation_pairs=8",
        config="finetune",
    )
    output = finish(process)
    assert process.returncode == 0, output
    assert steps(tmp_path / "run", "validation/iou") == [0, 2]
    assert checkpoint.read(tmp_path / "run" / "last").config == VARIANTS["testing"]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "scores are left uncalibrated: 100 tracked frames are needed, not 38" in log
    last = log.splitlines()[-1][20:]
    assert last in output
    best = checkpoint.read(tmp_path / "run" / "best").metadata["scores"]
    for name, label in (("validation/iou", "IoU"), ("tracking/success_auc", "AUC")):
        assert f"{label} {values(tmp_path / 'run', name)[0]:.4g} -> {best[name]:.4g}" in last
    assert last.endswith(
        f"asymtrack evaluate --dataset folder --data-dir {tmp_path / 'mine'} "
        f"--sequences clip1,clip6 --output {tmp_path / 'run' / 'results'} "
        f"--checkpoint {tmp_path / 'run' / 'best'}"
    )


def test_a_run_that_is_killed_in_an_epoch_ends_as_if_it_had_not_been(start, whole, tmp_path):
    process = start(tmp_path / "run", "--config.run.log_steps=3")
    wait_for(process, tmp_path / "run" / "checkpoints" / "3" / "run.json")
    process.kill()
    finish(process)
    process = start(tmp_path / "run", "--config.run.log_steps=3")
    output = finish(process)
    assert process.returncode == 0, output
    assert re.search(r"resuming after step [3-8]\b", output)  # 3, unless the kill came late
    assert f"asymtrack track --checkpoint {tmp_path / 'run' / 'best'}" in output
    # Each line is the mean since the one before, whatever was validated in between.
    assert steps(tmp_path / "run", "total") == [3, 6, 8]
    losses = values(whole, "total")
    expected = [np.mean(losses[:3]), np.mean(losses[3:6]), np.mean(losses[6:])]
    np.testing.assert_allclose(values(tmp_path / "run", "total"), expected, rtol=1e-6)
    ours, expected = (checkpoint.read(run / "last").variables for run in (tmp_path / "run", whole))
    jax.tree.map(np.testing.assert_array_equal, ours, expected)


def test_a_finished_run_says_that_nothing_is_trained(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    assert loop.train_and_evaluate(load_config("testing"), tmp_path / "run") == 0
    last = (tmp_path / "run" / "log.txt").read_text().splitlines()[-1]
    assert f"had finished all {NUM_STEPS} steps before, so nothing is trained" in last


def test_a_run_that_is_asked_to_stop_saves_first(start, tmp_path):
    process = start(tmp_path / "run", "--config.train.epochs=1000")
    wait_for(process, tmp_path / "run" / "checkpoints" / "3" / "run.json")
    process.send_signal(signal.SIGTERM)
    output = finish(process)
    assert process.returncode == 128 + signal.SIGTERM, output
    last = max(int(path.name) for path in tmp_path.glob("run/checkpoints/*"))
    assert f"stopped after step {last}" in output
    assert steps(tmp_path / "run", "total")[-1] == last


def test_missing_data_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        loop.train_and_evaluate(load_config("tiny"), tmp_path)
    for name in ("lasot", "got10k", "coco", "trackingnet"):
        assert f"data/{name} (config.data.roots.{name}" in str(error.value)
    assert "--config synthetic" in str(error.value)


@pytest.fixture
def testing(monkeypatch) -> Config:
    """The smallest run, which must not come as far as to open its data."""
    monkeypatch.setattr(loop, "_open_data", lambda _: pytest.fail("data were opened"))
    return load_config("testing")


def test_a_missing_checkpoint_to_start_from_is_named_before_data_are_opened(testing, tmp_path):
    run = dataclasses.replace(testing.run, init_from=tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no checkpoint at .*nowhere"):
        loop.train_and_evaluate(dataclasses.replace(testing, run=run), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("field", ["validation", "tracking"])
def test_missing_validation_data_are_named_before_data_are_opened(testing, tmp_path, field):
    roots = dataclasses.replace(testing.data.roots, folder=tmp_path / "nowhere")
    named = {"validation": ("folder",), "tracking": "folder"}[field]
    data = dataclasses.replace(testing.data, roots=roots, **{field: named})
    with pytest.raises(InputError, match=r"nowhere \(config.data.roots.folder"):
        loop.train_and_evaluate(dataclasses.replace(testing, data=data), tmp_path / "run")


def test_fine_tuning_takes_the_packaged_network():
    config, state = loop._start(load_config("finetune"))
    packaged = checkpoint.read(TINY)
    assert config.model == packaged.config
    jax.tree.map(np.testing.assert_array_equal, state.variables, packaged.variables)


def test_validation_on_what_is_trained_on_is_warned_of(tmp_path, caplog):
    write_frames(tmp_path / "cat" / "img", np.random.default_rng(0))
    (tmp_path / "cat" / "groundtruth.txt").write_text(20 * "20,30,16,12\n")
    config = load_config("finetune")
    roots = dataclasses.replace(config.data.roots, folder=tmp_path)
    data = dataclasses.replace(
        config.data, sources=("folder",), validation=("folder",), tracking="folder", roots=roots
    )
    loop._open_data(dataclasses.replace(config, data=data))
    assert "1 sequences are both trained and validated on" in caplog.text
    assert str(tmp_path / "cat") in caplog.text


def test_scores_are_calibrated_on_enough_frames(caplog):
    scores = np.linspace(0.1, 0.9, 100)
    assert loop._calibration(ScoredFrames(scores, scores)) is not None
    assert not caplog.text
    with caplog.at_level("INFO"):
        assert loop._calibration(ScoredFrames(scores, 1 - scores)) is None
    assert "uncalibrated: in 100 frames the overlap does not rise" in caplog.text


def test_a_source_that_validates_twice_is_opened_once(monkeypatch):
    config, opened = load_config("testing"), []

    def open_source(name: str, *arguments):
        opened.append(name)
        return datasets.open_source(name, *arguments)

    monkeypatch.setattr(loop, "open_source", open_source)
    data = loop._open_data(config)
    assert opened == ["synthetic"]
    assert len(data.sequences) == 1


def test_a_step_that_is_not_finite_stops_the_run_and_keeps_its_batch(tmp_path):
    batch = Batch(np.zeros((2, 4, 4, 3), np.uint8), np.ones((2, 8, 8, 3), np.uint8), np.eye(2, 4))
    loop._check_finite(tmp_path, 5, batch, {"finite": np.True_, "total": np.inf})
    with pytest.raises(InputError, match=r"step 6: .*not finite .*total nan.*learning_rate"):
        loop._check_finite(tmp_path, 6, batch, {"finite": np.False_, "total": np.nan})
    (path,) = tmp_path.glob("not_finite/step_6*.npz")
    with np.load(path) as saved:
        for name, array in batch._asdict().items():
            np.testing.assert_array_equal(saved[name], array)
        assert np.isnan(json.loads(str(saved["metrics"]))["total"])


class TestSteps:
    """The loop over steps that compute nothing: when what is called."""

    @pytest.fixture
    def calls(self) -> list[str]:
        return []

    @pytest.fixture
    def run(self, calls, tmp_path, monkeypatch) -> Callable[..., None]:
        """Takes 25 steps in five epochs, of which the step `broken` is not finite."""

        def run(broken: int | None = None, **settings: int) -> None:
            def train_step(state: TrainState, _: Batch) -> tuple[TrainState, dict]:
                step = int(state.step) + 1
                calls.append(f"step {step}")
                metrics = {"total": 1.0, "iou": 0.5, "finite": step != broken}
                return dataclasses.replace(state, step=step), metrics

            def eval_step(*_: Any) -> tuple[np.ndarray, dict]:
                calls.append("evaluate")
                return np.full((4, 4), 0.5), {"iou": 0.5}

            testing, rarely = load_config("testing"), {"picture_steps": 99, "validation_epochs": 99}
            config = dataclasses.replace(
                testing,
                train=dataclasses.replace(testing.train, epochs=5, pairs_per_epoch=20),
                run=dataclasses.replace(testing.run, **rarely | settings),
            )
            batch = Batch(
                template=np.zeros((4, 64, 64, 3), np.uint8),
                search=np.zeros((4, 128, 128, 3), np.uint8),
                boxes=np.full((4, 4), 0.25, np.float32),
            )
            batches = (batch for _ in range(25))
            monkeypatch.setattr(loop, "_batches", lambda *_: batches)
            monkeypatch.setattr(loop, "mean_losses", lambda step, *_: step()[1])
            monkeypatch.setattr(loop, "_summary", lambda *_: "")
            monkeypatch.setattr(devices, "jit_train_step", lambda *_: train_step)
            monkeypatch.setattr(devices, "jit_eval_step", lambda *_: eval_step)
            monkeypatch.setattr(devices, "put_batch", lambda _, batch: batch)
            memory = SimpleNamespace(limit=lambda: calls.append("limit memory"))
            monkeypatch.setattr(devices, "FreedMemory", lambda: memory)
            checkpoints: Any = SimpleNamespace(
                due=lambda _: False,
                save=lambda _: calls.append("save"),
                export_last_and_best=lambda *_: calls.append("export"),
            )
            state = TrainState(np.array(0), {}, {}, ())  # pyright: ignore[reportArgumentType]
            data: Any = SimpleNamespace(training=None, validation=None, sequences=[])
            mesh: Any = None
            assert loop._train(config, tmp_path, mesh, data, checkpoints, state) == 0

        return run

    def test_freed_memory_is_limited_after_every_step(self, run, calls):
        run()
        limited = [calls[i - 1] for i, call in enumerate(calls) if call == "limit memory"]
        assert limited == [f"step {step}" for step in range(1, 26)]
        assert calls[-4:] == ["limit memory", "evaluate", "export", "save"]

    @pytest.mark.parametrize("settings", [{"picture_steps": 19}, {"validation_epochs": 3}])
    def test_a_step_that_is_not_finite_is_neither_drawn_nor_validated(self, run, calls, settings):
        broken = settings.get("picture_steps", 15)
        with pytest.raises(InputError, match=f"step {broken}: the loss or its gradient is not"):
            run(broken, **settings)
        assert calls[-2:] == [f"step {broken}", "limit memory"]
