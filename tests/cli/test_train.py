import dataclasses
import re
from pathlib import Path

import pytest

from asymtrack_jax.cli.train import TrainOptions, parse
from asymtrack_jax.config import VARIANTS, Config
from asymtrack_jax.data.datasets import DATASETS


def options(*arguments: str, config: str = "tiny") -> TrainOptions:
    return parse(["--config", config, *arguments])


def test_the_paper_s_recipe():
    tiny, small, base = (options(config=name).config for name in ("tiny", "small", "base"))
    assert tiny == Config()
    assert (small.model, base.model) == (VARIANTS["small"], VARIANTS["base"])
    assert small.train == dataclasses.replace(tiny.train, backbone_multiplier=1.0)
    assert dataclasses.replace(base, model=tiny.model) == tiny


def test_every_kind_of_field_can_be_changed_by_name():
    chosen = options(
        "--config.train.learning_rate=1",
        "--config.train.bfloat16=True",
        "--config.train.layer_scale=0.3",
        "--config.train.schedule=cosine",
        "--config.model.search_size=384",
        "--config.model.depths", "2", "2", "3",
        "--config.data.sources", "lasot", "coco",
        "--config.data.shares", "2", "1",
        "--config.data.roots.lasot=/d/LaSOT",
        "--config.run.init_from=backbone",
        "--workdir=w",
    ).config  # fmt: skip
    assert chosen.train == dataclasses.replace(
        Config().train, learning_rate=1.0, bfloat16=True, layer_scale=0.3, schedule="cosine"
    )
    assert chosen.model == dataclasses.replace(VARIANTS["small"], search_size=384)
    assert (chosen.data.sources, chosen.data.shares) == (("lasot", "coco"), (2.0, 1.0))
    assert chosen.data.roots.lasot == Path("/d/LaSOT")
    assert chosen.run.init_from == Path("backbone")
    assert options("--config.run.init_from=package").config.run.init_from == "package"


def test_the_folder_is_named_after_the_configuration():
    assert options(config="small").workdir == Path("runs/small")
    assert options("--workdir=here").workdir == Path("here")


def test_help_lists_the_sources(capsys):
    with pytest.raises(SystemExit):
        options("--help")
    printed = capsys.readouterr().out
    for name in DATASETS:
        assert re.search(rf"^[- ].*\b{name}\b", printed, re.MULTILINE), name


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.train.learning_rat=1", "config.train.learning_rat"),
        ("--config.train.epochs=many", "config.train.epochs"),
        ("--config.train.bfloat16=perhaps", "config.train.bfloat16"),
        ("--config.train.schedule=linear", "config.train.schedule"),
        ("--config.train.learning_rate=-1", "learning_rate must be positive, got -1"),
        ("--config.data.sources=lasot", "data.shares must have one number"),
        ("--config.model.search_size=100", "search_size must be a positive multiple of 32"),
    ],
)
def test_what_cannot_be_used_is_named(argument: str, message: str, capsys):
    with pytest.raises(SystemExit) as exit_:
        options(argument)
    assert exit_.value.code == 2
    printed = capsys.readouterr().err.replace("│", " ")
    assert message in " ".join(printed.split())
