"""Configuration: frozen dataclasses, and the published variants by name."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from asymtrack_jax.errors import InputError

Precision = Literal["default", "highest", "bfloat16"]  # of commands: `compilation.set_precision`
PRECISIONS = get_args(Precision)


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


# The largest number in a published variant is 384, the side of base's search crop. A file may not
# ask for a network of any size: making one costs time and memory before its weights are looked at.
_MAX_SETTING = 1024


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
                and all(type(item) is int and 0 < item <= _MAX_SETTING for item in value)
            )
            value = tuple(value) if ok else value
        elif isinstance(default, float):
            ok = type(value) in (int, float) and 0 < value <= _MAX_SETTING
        else:
            ok = type(value) is int and 0 < value <= _MAX_SETTING
        if not ok:
            raise InputError(
                f"model setting {name} should look like {default}, with no number above "
                f"{_MAX_SETTING}, got {value!r}"
            )
        restored[name] = value
    return ModelConfig(**restored)


def _require(config: Any, names: tuple[str, ...], ok: Callable[[Any], bool], what: str) -> None:
    for name in names:
        if not ok(value := getattr(config, name)):
            raise InputError(f"{name} must be {what}, got {value}")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Optimisation (paper, section 4.1); the defaults are those of AsymTrack-T and -B.

    Attributes:
        batch_size: pairs per step, over all devices of all hosts. The published training has 64 on
            each of two GPUs.
        epochs: number of epochs.
        pairs_per_epoch: pairs per epoch; the data itself has no epochs.
        giou_weight: loss weight of the generalised IoU.
        l1_weight: loss weight of the mean absolute difference of corners.
        corner_weight: loss weight of the cross-entropy of the corner maps, which helps training
            from scratch; the published loss has none.
        learning_rate: learning rate of neck and head (AdamW).
        backbone_multiplier: learning rate of the backbone relative to that of neck and head; 1 for
            AsymTrack-S.
        coupling_multiplier: the same for template modulation and attention, which couple the
            streams; None means `backbone_multiplier`.
        frozen_stages: number of the backbone's first stages that are frozen, with the patch
            embedding.
        weight_decay: decoupled weight decay of AdamW, on every parameter.
        clip_norm: maximum global gradient norm.
        warmup_steps: steps of linear warm-up.
        schedule: learning rate schedule after warm-up: `step` multiplies by `decay_factor` after
            `decay_epoch` epochs, `cosine` decays to 0 at the last step.
        decay_epoch: see `schedule`.
        decay_factor: see `schedule`.
        layer_scale: initial layer scale, also of what template modulation adds; None means as
            published (1e-4, 0 in object perception enhancement, and 1), which suits a pretrained
            backbone.
        grad_accum_steps: number of parts of a batch over which gradients are accumulated, to save
            memory. Each part has its own batch norm statistics.
        bfloat16: compute the network in bfloat16; parameters, loss and update stay float32.
        ema_decay: decay of the exponential moving average of the parameters; 0 means none.
    """

    batch_size: int = 128
    epochs: int = 500
    pairs_per_epoch: int = 60_000
    giou_weight: float = 2.0
    l1_weight: float = 5.0
    corner_weight: float = 0.0
    learning_rate: float = 4e-4
    backbone_multiplier: float = 0.1
    coupling_multiplier: float | None = None
    frozen_stages: Literal[0, 1] = 0
    weight_decay: float = 1e-4
    clip_norm: float = 0.1
    warmup_steps: int = 0
    schedule: Literal["step", "cosine"] = "step"
    decay_epoch: int = 400
    decay_factor: float = 0.1
    layer_scale: float | None = None
    grad_accum_steps: int = 1
    bfloat16: bool = False
    ema_decay: float = 0.0

    def __post_init__(self):
        positive = ("batch_size", "epochs", "learning_rate", "clip_norm", "decay_epoch")
        _require(self, (*positive, "grad_accum_steps"), lambda value: value > 0, "positive")
        weights = ("giou_weight", "l1_weight", "corner_weight", "weight_decay", "warmup_steps")
        _require(self, weights, lambda value: value >= 0, "0 or more")
        _require(self, ("ema_decay",), lambda value: 0 <= value < 1, "in [0, 1)")
        if self.pairs_per_epoch < self.batch_size:
            raise InputError(
                f"pairs_per_epoch must be at least batch_size, {self.batch_size}, "
                f"got {self.pairs_per_epoch}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.pairs_per_epoch // self.batch_size

    @property
    def num_steps(self) -> int:
        """Steps of the run."""
        return self.epochs * self.steps_per_epoch


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far training pairs vary; the defaults are the published recipe.

    Attributes:
        centre_jitter: the search crop's centre moves within this many `sqrt(w * h)`, half of it to
            each side, uniformly.
        scale_jitter: standard deviation of the logarithm of the search box's width, and height.
        joint_grey: probability that both frames turn grey.
        joint_flip: probability that both frames are mirrored.
        brightness: each crop's pixels are multiplied by 1 +- up to this, uniformly.
        crop_flip: probability that a crop is mirrored, one regardless of the other.
        template_scale_jitter: `scale_jitter` of the template's box.
        template_centre_jitter: `centre_jitter` of the template's box.
        turn: standard deviation of the angle that the search frame is turned by, degrees.
        shear: standard deviation of the search frame's shear.
        cover: probability that something covers a part of the target in the search crop.
        look_alike: probability that the search crop shows a second target, changed.
        colour: each crop's contrast and saturation are multiplied by 1 +- up to this, uniformly.
        smear: probability that a crop has motion blur.
        compress: probability that a crop has the marks of JPEG.
    """

    centre_jitter: float = 3.5
    scale_jitter: float = 0.5
    joint_grey: float = 0.05
    joint_flip: float = 0.5
    brightness: float = 0.2
    crop_flip: float = 0.5
    template_scale_jitter: float = 0.0
    template_centre_jitter: float = 0.0
    turn: float = 0.0
    shear: float = 0.0
    cover: float = 0.0
    look_alike: float = 0.0
    colour: float = 0.0
    smear: float = 0.0
    compress: float = 0.0


@dataclasses.dataclass(frozen=True)
class Synthetic:
    """Rendered sequences (`data.synthetic`).

    Attributes:
        num_sequences: how many there are to train on.
        num_frames: of each.
        height: of the frames, pixels.
        width: of the frames, pixels.
        cutouts: folder of RGBA images, objects that are pasted; None for rendered ones.
        backgrounds: folder of photographs to paste on, searched in depth; None for rendered ones.
        least_difficulty: of a clip, from 0, where there are easy ones too, to 1.
        same_kind: share of what moves beside a cut-out that comes from the same folder as it, that
            is, looks like it.
    """

    num_sequences: int = 1000
    num_frames: int = 60
    height: int = 240
    width: int = 320
    cutouts: Path | None = None
    backgrounds: Path | None = None
    least_difficulty: float = 0.0
    same_kind: float = 0.0

    def __post_init__(self):
        _require(
            self, ("least_difficulty", "same_kind"), lambda value: 0 <= value <= 1, "in [0, 1]"
        )
        _require(self, ("num_sequences", "num_frames"), lambda value: value > 0, "positive")
        _require(self, ("height", "width"), lambda value: value >= 32, "at least 32 pixels")


@dataclasses.dataclass(frozen=True)
class Roots:
    """Where data sets lie, in their original layout or as `data.prepare` prepared them.

    Prepared folders below `prepared` are sources of their own, `prepared/<folder>`.
    """

    lasot: Path = Path("data/lasot")
    got10k: Path = Path("data/got10k")
    coco: Path = Path("data/coco")
    trackingnet: Path = Path("data/trackingnet")
    folder: Path = Path("data/folder")
    tracks: Path = Path("data/tracks")
    prepared: Path = Path("data/prepared")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Training and validation data.

    Attributes:
        sources: data sets to draw pairs from, by name (`data.datasets`).
        shares: relative weight of each source in sampling.
        validation: data sets of the validation pairs.
        tracking: data set whose first sequences are tracked as a whole.
        roots: where the data sets lie.
        cache: folder for the indexes of annotations.
        max_gap: most frames from a pair's template to its search frame.
        augmentation: how far training pairs vary.
        synthetic: what `synthetic` in `sources` renders.
        num_workers: worker processes that make batches; None for as many as there are cores, 0 for
            as many threads of this process.
        cache_bytes: size of the decoded frames kept in memory, over all workers.
        max_unreadable: images that may fail to be read before the run is stopped.
    """

    sources: tuple[str, ...] = ("lasot", "got10k_vot_train", "coco", "trackingnet")
    shares: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    validation: tuple[str, ...] = ("got10k_vot_val",)
    tracking: str = "got10k_vot_val"
    roots: Roots = Roots()
    cache: Path = Path("~/.cache/asymtrack_jax")
    max_gap: int = 200
    augmentation: Augmentation = Augmentation()
    synthetic: Synthetic = Synthetic()
    num_workers: int | None = None
    cache_bytes: int = 2**28
    max_unreadable: int = 100

    def __post_init__(self):
        if len(self.shares) != len(self.sources) or not self.sources:
            raise InputError(
                f"data.shares must have one number for each of data.sources "
                f"{list(self.sources)}, got {list(self.shares)}"
            )
        _require(self, ("max_gap",), lambda value: value > 0, "positive")
        _require(self, ("cache_bytes", "max_unreadable"), lambda value: value >= 0, "0 or more")
        if self.num_workers is not None:
            _require(self, ("num_workers",), lambda value: value >= 0, "0 or more")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Initialisation, checkpoints, logging and validation.

    Attributes:
        init_from: checkpoint to start from, a tracker's or a backbone's that `asymtrack convert`
            made; None to start from nothing.
        checkpoint_steps: steps between two checkpoints to resume from.
        checkpoint_minutes: minutes between two of them, if that comes first.
        keep: number of the latest checkpoints that are kept.
        log_steps: steps between two lines of metrics.
        picture_steps: steps between two pictures of pairs with predicted and true boxes.
        validation_epochs: epochs between two validations.
        validation_pairs: number of pairs per validation.
        tracking_sequences: number of sequences tracked per validation; 0 for none.
        tracking_frames: maximum number of frames of each.
    """

    init_from: Path | None = None
    checkpoint_steps: int = 1000
    checkpoint_minutes: float = 15.0
    keep: int = 3
    log_steps: int = 50
    picture_steps: int = 500
    validation_epochs: int = 20
    validation_pairs: int = 10_000
    tracking_sequences: int = 10
    tracking_frames: int = 100

    def __post_init__(self):
        steps = ("checkpoint_steps", "log_steps", "picture_steps", "validation_epochs", "keep")
        positive = (*steps, "checkpoint_minutes", "validation_pairs")
        _require(self, positive, lambda value: value > 0, "positive")
        _require(self, ("tracking_sequences",), lambda value: value >= 0, "0 or more")
        _require(self, ("tracking_frames",), lambda value: value >= 2, "at least 2")


@dataclasses.dataclass(frozen=True)
class Config:
    """A training run. The configuration and the data determine its result.

    Attributes:
        model: sizes of the network.
        train: optimisation.
        data: training and validation data.
        run: initialisation, checkpoints, logging and validation.
        seed: random seed.
    """

    model: ModelConfig = VARIANTS["tiny"]
    train: TrainConfig = TrainConfig()
    data: DataConfig = DataConfig()
    run: RunConfig = RunConfig()
    seed: int = 0

    def __post_init__(self):
        _require(self, ("seed",), lambda value: value >= 0, "0 or more")
        if infinite := [name for name, value in flat(self).items() if not _is_finite(value)]:
            raise InputError(f"must be finite numbers: {', '.join(infinite)}")


def flat(config: Any) -> dict[str, Any]:
    """The fields of nested dataclasses by their dotted names, such as `train.learning_rate`."""
    values = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            values |= {f"{field.name}.{name}": inner for name, inner in flat(value).items()}
        else:
            values[field.name] = value
    return values


def _is_finite(value: Any) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return all(math.isfinite(each) for each in values if isinstance(each, float))
