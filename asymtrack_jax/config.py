"""What can be chosen: frozen dataclasses, and the published variants by name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from asymtrack_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes of an AsymTrack network (paper, section 3 and table 1).

    Attributes:
        search_size: side of the square search crop, pixels; a multiple of 32.
        template_size: side of the square template crop, pixels; a multiple of 32.
        search_factor: side of the search crop over `sqrt(w * h)` of the target.
        template_factor: the same for the template crop.
        widths: channels of the three backbone stages.
        depths: basic blocks of the three backbone stages.
        num_kernels: dynamic kernels of the template modulation in stages 2 and 3.
        num_heads: heads of the attention block in stage 3.
        head_dim: width of one attention head.
        feature_dim: channels of the backbone's output, the neck and the head's first layer.
    """

    search_size: int = 256
    template_size: int = 128
    search_factor: float = 4.0
    template_factor: float = 2.0
    widths: tuple[int, int, int] = (32, 64, 128)
    depths: tuple[int, int, int] = (2, 2, 1)
    num_kernels: tuple[int, int] = (2, 4)
    num_heads: int = 8
    head_dim: int = 32
    feature_dim: int = 256

    def __post_init__(self):
        for name in ("search_size", "template_size"):
            size = getattr(self, name)
            if size < 32 or size % 32:
                raise InputError(f"{name} must be a positive multiple of 32 pixels, got {size}")

    @property
    def stride(self) -> int:
        """Search pixels per cell of the head's score maps."""
        return 32

    @property
    def grid_size(self) -> int:
        """Cells along one side of the head's score maps."""
        return self.search_size // self.stride


VARIANTS: dict[str, ModelConfig] = {
    # Published LaSOT success AUC:
    "tiny": ModelConfig(),  # 60.8
    "small": ModelConfig(depths=(2, 2, 3)),  # 62.8
    "base": ModelConfig(depths=(2, 2, 3), search_size=384, template_size=192),  # 64.7
    "testing": ModelConfig(  # for quick tests, never published
        search_size=128,
        template_size=64,
        widths=(8, 16, 32),
        depths=(1, 2, 2),
        num_heads=2,
        head_dim=8,
        feature_dim=32,
    ),
}


def model_config(variant: str) -> ModelConfig:
    """The configuration of a variant by name; `InputError` if there is none."""
    if variant not in VARIANTS:
        raise InputError(f"unknown variant {variant!r}; there are: {', '.join(VARIANTS)}")
    return VARIANTS[variant]


def model_config_from_dict(values: Mapping[str, Any]) -> ModelConfig:
    """Reads back `dataclasses.asdict(ModelConfig)` after JSON; `InputError` names what is off."""
    if not isinstance(values, Mapping):
        raise InputError(f"model settings should be a table of names and values, got {values!r}")
    fields = {field.name: field for field in dataclasses.fields(ModelConfig)}
    if unknown := sorted(values.keys() - fields.keys()):
        raise InputError(f"unknown model settings {unknown}; there are: {sorted(fields)}")
    if missing := sorted(fields.keys() - values.keys()):
        raise InputError(f"missing model settings {missing}")
    restored = {}
    for name, field in fields.items():
        value, default = values[name], field.default
        if isinstance(default, tuple):
            ok = (
                isinstance(value, list | tuple)
                and len(value) == len(default)
                and all(type(item) is int and item > 0 for item in value)
            )
            value = tuple(value) if ok else value
        elif isinstance(default, float):
            ok = type(value) in (int, float) and value > 0
        else:
            ok = type(value) is int and value > 0
        if not ok:
            raise InputError(f"model setting {name} should look like {default}, got {value!r}")
        restored[name] = value
    return ModelConfig(**restored)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How a batch changes the network (paper, section 4.1), for AsymTrack-T and -B by default.

    Attributes:
        giou_weight: of the generalised IoU in the loss.
        l1_weight: of the mean absolute difference of corners in the loss.
        learning_rate: of AdamW.
        backbone_multiplier: learning rate of the backbone over that of neck and head; AsymTrack-S
            has 1.
        weight_decay: of AdamW, decoupled, of every parameter.
        clip_norm: longest gradient of all parameters together; longer ones are shortened to it.
        decay_epoch: after so many epochs the learning rates are multiplied by `decay_factor`.
        decay_factor: see `decay_epoch`.
        micro_batches: parts that a batch is worked through in, to save memory. Batch norms see a
            part at a time.
        bfloat16: compute the network in bfloat16; parameters, loss and update stay float32.
        ema_decay: share that a moving average of the parameters keeps at each step; 0 is none.
    """

    giou_weight: float = 2.0
    l1_weight: float = 5.0
    learning_rate: float = 4e-4
    backbone_multiplier: float = 0.1
    weight_decay: float = 1e-4
    clip_norm: float = 0.1
    decay_epoch: int = 400
    decay_factor: float = 0.1
    micro_batches: int = 1
    bfloat16: bool = False
    ema_decay: float = 0.0

    def __post_init__(self):
        for name in ("learning_rate", "clip_norm", "decay_epoch", "micro_batches"):
            if not (value := getattr(self, name)) > 0:
                raise InputError(f"{name} must be positive, got {value}")
        if not 0 <= self.ema_decay < 1:
            raise InputError(f"ema_decay must be in [0, 1), got {self.ema_decay}")
