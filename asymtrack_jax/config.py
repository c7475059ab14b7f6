"""Configurations as frozen dataclasses, and the published variants by name."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from asymtrack_jax.errors import InputError

Precision = Literal["default", "highest", "bfloat16"]  # see `compilation.set_precision`
PRECISIONS = get_args(Precision)

# Bounds the time and memory that a file can cost before its weights are checked. The largest number
# in a published variant is 384, base's search size.
_MAX_SETTING = 1024


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes of an AsymTrack network (paper, section 3 and table 1); all in (0, 1024].

    Attributes:
        search_size: side of the square search crop, pixels; a multiple of 32.
        template_size: side of the square template crop, pixels; a multiple of 32.
        search_factor: side of the search crop over the target's `sqrt(w * h)`.
        template_factor: side of the template crop over the target's `sqrt(w * h)`.
        widths: channels of the three backbone stages.
        depths: basic blocks of the three backbone stages.
        num_kernels: dynamic kernels of the template modulation in stages 2 and 3.
        num_heads: heads of the attention block in stage 3.
        head_dim: channels of one attention head.
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
        for name, value in vars(self).items():
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(0 < number <= _MAX_SETTING for number in numbers):  # false for NaN
                raise InputError(
                    f"{name} must be positive, with no number above {_MAX_SETTING}, got {value}"
                )
        for name in ("search_size", "template_size"):
            size = getattr(self, name)
            if size < 32 or size % 32:
                raise InputError(f"{name} must be a positive multiple of 32 pixels, got {size}")

    @property
    def stride(self) -> int:
        """Pixels of the search crop per cell of the score maps."""
        return 32

    @property
    def grid_size(self) -> int:
        """Cells per side of the score maps."""
        return self.search_size // self.stride


VARIANTS: dict[str, ModelConfig] = {
    # Published LaSOT success AUC:
    "tiny": ModelConfig(),  # 60.8
    "small": ModelConfig(depths=(2, 2, 3)),  # 62.8
    "base": ModelConfig(depths=(2, 2, 3), search_size=384, template_size=192),  # 64.7
    "testing": ModelConfig(  # for fast tests, not published
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
    """Returns the configuration of a variant by name; raises `InputError` if there is none."""
    if variant not in VARIANTS:
        raise InputError(f"unknown variant {variant!r}; there are: {', '.join(VARIANTS)}")
    return VARIANTS[variant]


def variant_name(config: ModelConfig) -> str:
    """Returns the name of a configuration in `VARIANTS`, or `custom`."""
    return next((name for name, known in VARIANTS.items() if known == config), "custom")


def model_config_from_dict(values: Mapping[str, Any]) -> ModelConfig:
    """Restores a configuration from `dataclasses.asdict` of it, as JSON.

    Raises:
        InputError: a field is unknown, missing, of another type or out of range (named).
    """
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
                and all(type(item) is int for item in value)
            )
            value = tuple(value) if ok else value
        elif isinstance(default, float):
            ok = type(value) in (int, float)
        else:
            ok = type(value) is int
        if not ok:
            raise InputError(f"model setting {name} should look like {default}, got {value!r}")
        restored[name] = value
    return ModelConfig(**restored)


def _require(config: Any, names: tuple[str, ...], ok: Callable[[Any], bool], what: str) -> None:
    for name in names:
        if not ok(value := getattr(config, name)):
            raise InputError(f"{name} must be {what}, got {value}")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Optimisation settings (paper, section 4.1); the defaults are those of AsymTrack-T and -B.

    Attributes:
        batch_size: pairs per step over all devices of all hosts; published: 64 per GPU on two GPUs.
        epochs: number of epochs.
        pairs_per_epoch: pairs per epoch, which are drawn at random from the data.
        giou_weight: loss weight of the generalised IoU.
        l1_weight: loss weight of the mean absolute difference of corners.
        corner_weight: loss weight of the cross-entropy of the score maps, which helps training
            from scratch; not in the published loss.
        learning_rate: learning rate of neck and head (AdamW).
        backbone_multiplier: learning rate of the backbone relative to that of neck and head; 1 for
            AsymTrack-S.
        coupling_multiplier: learning rate of template modulation and attention relative to that of
            neck and head; None means `backbone_multiplier`.
        frozen_stages: 1 to freeze the patch embedding and stage 1, 0 to train all.
        weight_decay: decoupled weight decay of AdamW, on every parameter.
        clip_norm: maximum global gradient norm.
        warmup_steps: steps of linear warm-up.
        schedule: learning rate schedule after warm-up: `step` multiplies by `decay_factor` after
            `decay_epoch` epochs, `cosine` decays to 0 at the last step.
        decay_epoch: epochs before the decay of schedule `step`.
        decay_factor: factor of the decay of schedule `step`.
        layer_scale: initial scale of the residual branches of basic blocks, object perception
            enhancement and template modulation; None means as published (1e-4, 0 and 1), which
            suits a pretrained backbone.
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
        factors = ("backbone_multiplier", "coupling_multiplier", "decay_factor", "layer_scale")
        # Not `v >= 0`: `Config` names settings that are not finite.
        _require(self, (*weights, *factors), lambda v: v is None or not v < 0, "0 or more")
        _require(self, ("ema_decay",), lambda value: 0 <= value < 1, "in [0, 1)")
        if self.pairs_per_epoch < self.batch_size:
            raise InputError(
                f"pairs_per_epoch must be at least batch_size, {self.batch_size}, "
                f"got {self.pairs_per_epoch}"
            )
        if self.schedule == "cosine" and self.warmup_steps >= self.num_steps:
            raise InputError(
                f"warmup_steps must be less than the {self.num_steps} steps of the run, got "
                f"{self.warmup_steps}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Complete batches per epoch."""
        return self.pairs_per_epoch // self.batch_size

    @property
    def num_steps(self) -> int:
        """Number of steps of the run."""
        return self.epochs * self.steps_per_epoch


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Augmentation of training pairs; the defaults are the published recipe.

    Attributes:
        centre_jitter: range of the search crop's uniform offset along each axis, in `sqrt(w * h)`
            of the target: half of it to either side.
        scale_jitter: standard deviation of the log scale of the search box's width and height.
        joint_grey: probability that both frames are converted to greyscale.
        joint_flip: probability that both frames are mirrored.
        brightness: maximum relative change of brightness, uniform, drawn per crop.
        crop_flip: probability that a crop is mirrored, drawn per crop.
        template_scale_jitter: `scale_jitter` of the template's box.
        template_centre_jitter: `centre_jitter` of the template's box.
        rotation: standard deviation of the search frame's rotation, degrees.
        shear: standard deviation of the search frame's shear.
        occlusion: probability that a part of the target is occluded in the search crop.
        distractor: probability that an altered copy of the target is pasted into the search crop.
        colour_jitter: maximum relative change of contrast and saturation, uniform, drawn per crop.
        motion_blur: probability of motion blur, drawn per crop.
        jpeg: probability of JPEG compression artefacts, drawn per crop.
        low_resolution: probability that both crops lose resolution, by 1.5 to 4 times, as those of
            a small target.
    """

    centre_jitter: float = 3.5
    scale_jitter: float = 0.5
    joint_grey: float = 0.05
    joint_flip: float = 0.5
    brightness: float = 0.2
    crop_flip: float = 0.5
    template_scale_jitter: float = 0.0
    template_centre_jitter: float = 0.0
    rotation: float = 0.0
    shear: float = 0.0
    occlusion: float = 0.0
    distractor: float = 0.0
    colour_jitter: float = 0.0
    motion_blur: float = 0.0
    jpeg: float = 0.0
    low_resolution: float = 0.0

    def __post_init__(self):
        ranges = (
            *("centre_jitter", "scale_jitter", "template_centre_jitter", "template_scale_jitter"),
            *("rotation", "shear"),
        )
        others = tuple(vars(self).keys() - set(ranges))
        # NaN passes here: `Config` reports all numbers that are not finite.
        _require(self, ranges, lambda value: not value < 0, "0 or more")
        _require(self, others, lambda value: not (value < 0 or value > 1), "in [0, 1]")


@dataclasses.dataclass(frozen=True)
class Synthetic:
    """Rendered sequences (`data.synthetic`).

    Attributes:
        num_sequences: number of sequences.
        num_frames: number of frames per sequence.
        height: height of the frames, pixels.
        width: width of the frames, pixels.
        cutouts: folder of RGBA images of objects, searched recursively; None to render objects.
        backgrounds: folder of photographs, searched recursively; None to render backgrounds.
        min_difficulty: minimum difficulty of a sequence, from 0 (easy ones too) to 1 (hard only).
        same_class: fraction of the other objects that are cut-outs from the target's folder, and so
            of its class.
    """

    num_sequences: int = 1000
    num_frames: int = 60
    height: int = 240
    width: int = 320
    cutouts: Path | None = None
    backgrounds: Path | None = None
    min_difficulty: float = 0.0
    same_class: float = 0.0

    def __post_init__(self):
        fractions = ("min_difficulty", "same_class")
        _require(self, fractions, lambda value: 0 <= value <= 1, "in [0, 1]")
        _require(self, ("num_sequences", "num_frames"), lambda value: value > 0, "positive")
        _require(self, ("height", "width"), lambda value: value >= 32, "at least 32 pixels")


@dataclasses.dataclass(frozen=True)
class Roots:
    """Root folders of the datasets, in their original layout or prepared by `asymtrack prepare`.

    Prepared folders below `prepared` are sources `prepared/<folder>`.
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
        sources: names of the datasets to draw pairs from; `asymtrack train --help` lists them.
        shares: relative sampling weight of each source.
        validation: names of the datasets of validation pairs.
        tracking: name of the dataset whose first sequences are tracked in validation.
        roots: root folders of the datasets.
        cache: folder of the cached annotation indexes.
        max_gap: maximum number of frames from a pair's template to its search frame.
        augmentation: augmentation of training pairs.
        synthetic: settings of the source `synthetic`.
        num_workers: number of worker processes that make batches; None for one per core, 0 for one
            thread per core in this process.
        cache_bytes: maximum size of the decoded frames kept in memory, over all workers.
        max_unreadable: maximum number of unreadable images before the run stops.
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
        _require(self, ("shares",), lambda shares: not min(shares) <= 0, "positive numbers")
        _require(self, ("validation",), bool, "at least one dataset")
        _require(self, ("max_gap",), lambda value: value > 0, "positive")
        _require(self, ("cache_bytes", "max_unreadable"), lambda value: value >= 0, "0 or more")
        if self.num_workers is not None:
            _require(self, ("num_workers",), lambda value: value >= 0, "0 or more")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Initialisation, checkpoints, logging and validation.

    Attributes:
        init_from: checkpoint directory of initial weights, of a tracker or a backbone that
            `asymtrack convert` wrote; `package` for the packaged weights; None to train from
            scratch.
        model_from_init: train the network of `init_from` instead of `config.model`.
        checkpoint_steps: steps between checkpoints to resume from.
        checkpoint_minutes: maximum minutes between checkpoints to resume from.
        keep: number of latest checkpoints that are kept.
        log_steps: steps between logged metrics.
        picture_steps: steps between pictures of pairs with predicted and true boxes.
        validation_epochs: epochs between validations.
        validation_pairs: number of pairs per validation.
        tracking_sequences: number of sequences tracked per validation; 0 for none.
        tracking_frames: maximum number of frames per tracked sequence.
    """

    init_from: Literal["package"] | Path | None = None
    model_from_init: bool = False
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
        if self.model_from_init and self.init_from is None:
            raise InputError("model_from_init needs init_from, the checkpoint of the network")


@dataclasses.dataclass(frozen=True)
class Config:
    """Configuration of a training run. Together with the data it determines the result.

    Attributes:
        model: sizes of the network.
        train: optimisation settings.
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
        if self.run.model_from_init and self.model != ModelConfig():
            raise InputError(
                "run.init_from sets the network: leave out model, or set run.model_from_init=False"
            )
        if infinite := [name for name, value in flat(self).items() if not _is_finite(value)]:
            raise InputError(f"must be finite numbers: {', '.join(infinite)}")


def flat(config: Any) -> dict[str, Any]:
    """Returns the fields of nested dataclasses by dotted name, such as `train.learning_rate`."""
    values = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            values |= {f"{field.name}.{name}": inner for name, inner in flat(value).items()}
        else:
            values[field.name] = value
    return values


def override(config: Any, values: Mapping[str, Any]) -> Any:
    """Returns a copy of nested dataclasses with other values of fields by their dotted names.

    Raises:
        TypeError: there is no such field.
        InputError: a value is not valid.
    """
    sections: dict[str, dict[str, Any]] = {}
    changed = {name: value for name, value in values.items() if "." not in name}
    for name in values.keys() - changed.keys():
        section, _, field = name.partition(".")
        sections.setdefault(section, {})[field] = values[name]
    changed |= {name: override(getattr(config, name), of) for name, of in sections.items()}
    return dataclasses.replace(config, **changed)


def _is_finite(value: Any) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return all(math.isfinite(each) for each in values if isinstance(each, float))
