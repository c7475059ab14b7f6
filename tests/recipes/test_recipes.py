"""The runs of the packaged weights, as configurations: each goes on from the one before."""

import itertools
from pathlib import Path

import pytest

from asymtrack_jax.config import Config
from asymtrack_jax.configs.loading import load_config

RECIPES = Path(__file__).parent.parent.parent / "recipes" / "packaged_weights"
RUNS = (
    "backbone",
    "near",
    "full",
    "long",
    "longer",
    "cycle",
    "video",
    "decay",
    "video_more",
    "decay_more",
)


def config(run: str) -> Config:
    return load_config(str(RECIPES / f"{run}.py"))


def test_each_run_is_listed_here():
    assert {path.stem for path in RECIPES.glob("*.py")} == {
        *RUNS,
        "average",
        "distill",
        "label_video",
    }


@pytest.mark.parametrize(("before", "run"), [*itertools.pairwise(RUNS)])
def test_each_run_goes_on_from_the_one_before(before, run):
    assert config(run).run.init_from == Path("runs") / before / "last"


def test_the_runs_keep_what_the_weights_depend_on():
    networks = {(config(run).model.widths, config(run).model.depths) for run in RUNS}
    assert len(networks) == 1


def test_no_run_validates_on_what_it_learns_from():
    for run in RUNS:
        data = config(run).data
        assert not {*data.sources} & {*data.validation, data.tracking}
