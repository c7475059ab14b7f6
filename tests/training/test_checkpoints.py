import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS, Config, DataConfig, Roots, RunConfig, TrainConfig
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import checkpoint
from asymtrack_jax.tracking.calibration import Calibration, read_calibration
from asymtrack_jax.training.checkpoints import Checkpoints, fingerprint, init_from
from asymtrack_jax.training.state import TrainState, create_state

CONFIG = Config(VARIANTS["testing"], TrainConfig(ema_decay=0.5), run=RunConfig(keep=2))


def small_state(step: int) -> TrainState:
    """A state of few arrays, each step's different."""
    draw = np.random.default_rng(step).standard_normal
    params = {"kernel": jnp.asarray(draw((40, 50), np.float32)), "bias": jnp.full(3, 0.1 * step)}
    stats = {"mean": jnp.asarray(draw(3, np.float32))}
    return TrainState(jnp.array(step, jnp.int32), params, stats, ({"count": jnp.array(step)},))


def assert_equal(found: TrainState, expected: TrainState) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (a.dtype, a.sharding) == (b.dtype, b.sharding)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def restore(workdir: Path, like: TrainState, config: Config = CONFIG) -> TrainState:
    """What a new process restores."""
    with contextlib.closing(Checkpoints(workdir, config)) as checkpoints:
        return checkpoints.restore(like)


def steps(workdir: Path) -> list[str]:
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory) -> Path:
    """A workdir with checkpoints of steps 5 and 10."""
    workdir = tmp_path_factory.mktemp("run")
    checkpoints = Checkpoints(workdir, CONFIG)
    for step in (5, 10):
        checkpoints.save(small_state(step))
    return workdir


@pytest.fixture
def workdir(two_saved, tmp_path) -> Path:
    return shutil.copytree(two_saved, tmp_path / "run")


def test_everything_comes_back_bit_for_bit(tmp_path, variables):
    draw = np.random.default_rng(0).standard_normal
    state = jax.device_put(
        jax.tree.map(
            lambda leaf: (3 * draw(leaf.shape)).astype(leaf.dtype),
            jax.eval_shape(lambda: create_state(variables, CONFIG.train)),
        )
    )
    with contextlib.closing(Checkpoints(tmp_path, CONFIG)) as checkpoints:
        checkpoints.save(state)
    assert_equal(restore(tmp_path, jax.tree.map(jnp.zeros_like, state)), state)


def test_nothing_saved(tmp_path):
    state = small_state(0)
    assert Checkpoints(tmp_path, CONFIG).restore(state) is state


def test_the_last_ones_are_kept(workdir):
    checkpoints = Checkpoints(workdir, CONFIG)
    assert_equal(checkpoints.restore(small_state(0)), small_state(10))
    checkpoints.save(small_state(15))
    assert steps(workdir) == ["10", "15"]
    checkpoints.save(small_state(20))
    assert steps(workdir) == ["15", "20"]
    assert_equal(Checkpoints(workdir, CONFIG).restore(small_state(0)), small_state(20))


def test_a_step_may_be_saved_again(workdir):
    state = dataclasses.replace(small_state(10), params={"kernel": jnp.ones(3)})
    Checkpoints(workdir, CONFIG).save(state)
    assert_equal(Checkpoints(workdir, CONFIG).restore(state), state)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip_a_bit, Path.unlink])
def test_goes_on_from_the_one_before_a_damaged_one(workdir, damage, caplog):
    """Whatever file it is that is damaged: the arrays, or what describes them."""
    files = [path for path in (workdir / "checkpoints" / "10").rglob("*") if path.is_file()]
    files = [path for path in files if path.stat().st_size]
    assert len(files) >= 8
    checkpoints = Checkpoints(workdir, CONFIG)
    for path in files:
        whole = path.read_bytes()
        damage(path)
        problem = checkpoints._problem(10)
        assert problem is not None, path
        assert path.name in problem
        path.write_bytes(whole)
    checkpoints.close()
    damage(files[-1])
    checkpoints = Checkpoints(workdir, CONFIG)
    assert_equal(checkpoints.restore(small_state(0)), small_state(5))
    assert "checkpoints/10 is damaged" in caplog.text
    # The run comes by step 10 again.
    assert steps(workdir) == ["5"]
    checkpoints.save(small_state(10))
    assert_equal(restore(workdir, small_state(0)), small_state(10))


@pytest.mark.parametrize(
    "content", [3, {"record": {"run": 3, "files": {}}, "checksum": 0}, {"record": []}]
)
def test_a_record_of_another_shape_is_damage(workdir, content, caplog):
    (workdir / "checkpoints" / "10" / "run.json").write_text(json.dumps(content))
    assert_equal(restore(workdir, small_state(0)), small_state(5))
    assert "checkpoints/10 is damaged: run.json" in caplog.text


def test_what_a_killed_save_leaves_is_passed_over(workdir):
    folder = workdir / "checkpoints"
    (folder / "10" / "run.json").unlink()  # killed just before the end
    shutil.copytree(folder / "5", folder / "15.orbax-checkpoint-tmp")  # killed in the middle
    (folder / "15.orbax-checkpoint-tmp" / "run.json").unlink()
    assert_equal(restore(workdir, small_state(0)), small_state(5))
    assert steps(workdir) == ["5"]


def test_a_run_that_is_killed_in_its_first_save_begins_again(workdir):
    for step in ("5", "10"):
        (workdir / "checkpoints" / step / "run.json").unlink()
    state = small_state(0)
    assert restore(workdir, state) is state
    assert steps(workdir) == []


def test_a_full_disk_is_one_line_and_costs_no_checkpoint(workdir):
    """As a process that may write no larger files, which tensorstore meets in the same way."""
    script = """
import resource, sys
from pathlib import Path
from tests.training.test_checkpoints import CONFIG, Checkpoints, small_state
from asymtrack_jax.errors import run_main

def main():
    checkpoints = Checkpoints(Path(sys.argv[1]), CONFIG)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    checkpoints.save(small_state(15))

run_main(main)
"""
    command = [sys.executable, "-c", script, str(workdir)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert f"File too large: '{workdir}/checkpoints/15'" in line
    assert_equal(restore(workdir, small_state(0)), small_state(10))


def test_all_damaged(workdir):
    for path in workdir.rglob("manifest.ocdbt"):
        cut(path)
    with pytest.raises(InputError, match=r"every checkpoint in .* is damaged"):
        Checkpoints(workdir, CONFIG).restore(small_state(0))
    assert steps(workdir) == ["10", "5"]


def test_another_runs_checkpoint_is_refused_by_what_differs(workdir):
    config = dataclasses.replace(
        CONFIG,
        train=dataclasses.replace(CONFIG.train, learning_rate=1e-3),
        data=DataConfig(sources=("lasot",), shares=(1.0,)),
    )
    with pytest.raises(InputError) as caught:
        Checkpoints(workdir, config).restore(small_state(0))
    lines = str(caught.value).splitlines()
    assert "another run" in lines[0]
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        *("data.shares", "data.sources", "train.learning_rate")
    ]
    assert lines[3] == "  train.learning_rate: 0.0004 -> 0.001"


def test_what_may_change_on_the_way():
    changed = dataclasses.replace(
        CONFIG,
        train=dataclasses.replace(CONFIG.train, epochs=1000),
        data=DataConfig(roots=Roots(lasot=Path("/elsewhere")), num_workers=3),
        run=RunConfig(keep=7),
    )
    assert fingerprint(changed) == fingerprint(CONFIG)
    assert json.loads(json.dumps(fingerprint(CONFIG))) == fingerprint(CONFIG)


def test_a_cosine_ends_with_its_last_epoch():
    short, long = (Config(train=TrainConfig(schedule="cosine", epochs=n)) for n in (10, 20))
    assert fingerprint(short) != fingerprint(long)


class TestExport:
    def export(self, workdir: Path, variables: dict, step: int, score: float, config=CONFIG):
        """By a process of its own, as after an interruption."""
        scores = {"validation/iou": score, "validation/total": 1.0}
        with contextlib.closing(Checkpoints(workdir, config)) as checkpoints:
            return checkpoints.export_last_and_best(
                variables, step, scores, Calibration(1.0 + step, 0.5)
            )

    def test_the_best_and_the_last(self, tmp_path, variables):
        better = jax.tree.map(lambda leaf: leaf + 1, variables)
        assert self.export(tmp_path, variables, 1, 0.5)
        assert self.export(tmp_path, better, 2, 0.7)
        assert not self.export(tmp_path, variables, 3, 0.6)
        best, last = (checkpoint.read(tmp_path / name) for name in ("best", "last"))
        jax.tree.map(np.testing.assert_array_equal, best.variables, better)
        jax.tree.map(np.testing.assert_array_equal, last.variables, variables)
        assert best.config == CONFIG.model
        assert read_calibration(best.metadata) == Calibration(3.0, 0.5)
        assert (best.metadata["step"], last.metadata["step"]) == (2, 3)
        assert best.metadata["scores"] == {"validation/iou": 0.7, "validation/total": 1.0}

    @pytest.mark.parametrize(
        "changed",
        [
            dataclasses.replace(CONFIG, seed=1),
            dataclasses.replace(CONFIG, data=DataConfig(validation=("lasot",))),
            dataclasses.replace(CONFIG, run=RunConfig(validation_pairs=5)),
        ],
    )
    def test_the_best_of_another_run_or_of_other_pairs_does_not_count(
        self, tmp_path, variables, changed: Config
    ):
        self.export(tmp_path, variables, 1, 0.9)
        assert self.export(tmp_path, variables, 2, 0.2, changed)
        assert not self.export(tmp_path, variables, 3, 0.1, changed)

    def test_a_damaged_best_is_replaced(self, tmp_path, variables, caplog):
        self.export(tmp_path, variables, 1, 0.9)
        cut(tmp_path / "best" / checkpoint.FILE_NAME)
        assert self.export(tmp_path, variables, 2, 0.2)
        assert f"{tmp_path / 'best'} is damaged" in caplog.text
        assert checkpoint.read(tmp_path / "best").metadata["step"] == 2

    def test_a_best_without_a_score_is_replaced(self, tmp_path, variables):
        checkpoint.save(tmp_path / "best", CONFIG.model, variables, {"scores": 3})
        assert self.export(tmp_path, variables, 2, 0.2)


class TestInitFrom:
    @pytest.fixture
    def directory(self, tmp_path, variables) -> Path:
        checkpoint.save(tmp_path / "start", CONFIG.model, variables, {})
        return tmp_path / "start"

    def test_crops_may_differ(self, directory, variables):
        config = dataclasses.replace(CONFIG.model, search_size=256, search_factor=5.0)
        jax.tree.map(np.testing.assert_array_equal, init_from(directory, config), variables)

    def test_another_network_is_refused_by_what_differs(self, directory):
        """Even if it has parameters of the same shapes."""
        config = dataclasses.replace(CONFIG.model, num_heads=4, head_dim=4)
        with pytest.raises(InputError) as caught:
            init_from(directory, config)
        assert str(caught.value).splitlines()[1:] == [
            "  model.head_dim: 8 -> 4",
            "  model.num_heads: 2 -> 4",
        ]


def test_saves_by_steps_and_by_minutes(tmp_path):
    run = RunConfig(checkpoint_steps=100, checkpoint_minutes=1 / 60)
    config = dataclasses.replace(CONFIG, run=run)
    with contextlib.closing(Checkpoints(tmp_path, config)) as checkpoints:
        assert checkpoints.due(1)  # which shows that the folder can be written
        checkpoints.save(small_state(1))
        assert not checkpoints.due(2)
        assert checkpoints.due(100)
        time.sleep(1)
        assert checkpoints.due(3)
