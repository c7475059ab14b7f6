import dataclasses
import json

import pytest

from asymtrack_jax.config import (
    VARIANTS,
    Augmentation,
    Config,
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    model_config,
    model_config_from_dict,
    override,
)
from asymtrack_jax.errors import InputError


@pytest.mark.parametrize("variant", VARIANTS)
def test_survives_json(variant):
    config = model_config(variant)
    assert model_config_from_dict(json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"search_size": 100}, "multiple of 32"),
        ({"search_size": "256"}, "search_size"),
        ({"search_size": True}, "search_size"),
        ({"search_factor": 0}, "search_factor"),
        ({"depths": [2, 2]}, "depths"),
        ({"depths": [2, 2, 0]}, "depths"),
        ({"depths": [1_000_000, 2, 1]}, "depths .* no number above 1024"),
        ({"search_size": 2**20}, "search_size"),
        ({"search_factor": float("inf")}, "search_factor"),
        ({"template_factor": float("nan")}, "template_factor"),
        ({"template_factor": 10**400}, "template_factor"),
        ({"dephts": [2, 2, 1]}, "dephts"),
    ],
)
def test_bad_settings_are_named(change, message):
    values = json.loads(json.dumps(dataclasses.asdict(ModelConfig())))
    with pytest.raises(InputError, match=message):
        model_config_from_dict(values | change)


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        (lambda: ModelConfig(depths=(0, 2, 1)), "depths"),
        (lambda: ModelConfig(search_size=1056), "search_size"),
        (lambda: ModelConfig(search_factor=0.0), "search_factor"),
        (lambda: TrainConfig(backbone_multiplier=-0.1), "backbone_multiplier"),
        (lambda: TrainConfig(layer_scale=-1.0), "layer_scale"),
        (lambda: DataConfig(shares=(1.0, 0.0, 1.0, 1.0)), "shares"),
        (lambda: DataConfig(validation=()), "validation"),
    ],
)
def test_settings_out_of_range_are_named(setting, name):
    """Before data are read; a checkpoint of such a network could not be read again."""
    with pytest.raises(InputError, match=f"^{name} must be "):
        setting()


def test_missing_settings_are_named():
    with pytest.raises(InputError, match="search_size"):
        model_config_from_dict({})


def test_unknown_variants_are_named():
    with pytest.raises(InputError, match=r"'huge'.*tiny, small, base"):
        model_config("huge")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_named(value: float):
    jitter = Augmentation(scale_jitter=value)
    for name, config in {
        "data.shares": lambda: Config(data=DataConfig(shares=(1.0, 1.0, value, 1.0))),
        "data.augmentation.scale_jitter": lambda: Config(data=DataConfig(augmentation=jitter)),
        "train.layer_scale": lambda: Config(train=TrainConfig(layer_scale=value)),
    }.items():
        with pytest.raises(InputError, match=f"must be finite numbers: {name}"):
            config()


def test_a_network_is_set_once():
    Config(run=RunConfig(init_from="package", model_from_init=True))
    with pytest.raises(InputError, match=r"init_from sets the network: leave out model"):
        Config(VARIANTS["small"], run=RunConfig(init_from="package", model_from_init=True))
    with pytest.raises(InputError, match="model_from_init needs init_from"):
        RunConfig(model_from_init=True)


def test_fields_are_overridden_by_dotted_names():
    values = {"seed": 3, "train.epochs": 7, "data.augmentation.jpeg": 0.5, "data.shares": (1.0,)}
    values["data.sources"] = ("synthetic",)  # checked with the shares, not one after the other
    config = override(Config(), values)
    assert (config.seed, config.train.epochs, config.data.augmentation.jpeg) == (3, 7, 0.5)
    assert config.data.validation == Config().data.validation
    with pytest.raises(TypeError, match="epoch"):
        override(Config(), {"train.epoch": 1})
    with pytest.raises(InputError, match="seed"):
        override(Config(), {"seed": -1})


@pytest.mark.parametrize(("name", "value"), [("jpeg", 1.5), ("brightness", -0.1), ("shear", -1.0)])
def test_augmentations_out_of_range_are_refused(name, value):
    with pytest.raises(InputError, match=name):
        Augmentation(**{name: value})
