r"""Feature distillation: trains a backbone from scratch to predict another tracker's features.

python -m recipes.packaged_weights.distill nanotrack_backbone.onnx \
    --config recipes/packaged_weights/backbone.py

Replaces ImageNet weights: a training pair has four regression targets, a teacher's feature map some
hundred per cell. The checkpoint `WORKDIR/last` has a distilled backbone and a newly initialised
neck and head, and can be used as `config.run.init_from`.
"""

import argparse
import collections
import contextlib
import itertools
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tqdm
from flax import struct
from jaxtyping import Array, Float, UInt8

from asymtrack_jax.cli.train import parse
from asymtrack_jax.compilation import enable_compilation_cache
from asymtrack_jax.config import Config, ModelConfig, TrainConfig
from asymtrack_jax.data.augment import Batch
from asymtrack_jax.data.datasets import open_sources
from asymtrack_jax.data.pipeline import Batches
from asymtrack_jax.data.sampler import PairSampler
from asymtrack_jax.errors import InputError, run_main
from asymtrack_jax.images import normalise
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.asymtrack import AsymTrack, init_variables
from asymtrack_jax.training.checkpoints import fingerprint
from asymtrack_jax.training.metrics import MetricsWriter
from asymtrack_jax.training.optimizer import make_optimizer
from asymtrack_jax.training.state import update_ema, with_layer_scale

Item = TypeVar("Item")
Result = TypeVar("Result")

Images = UInt8[Any, "B Z Z 3"]
Teacher = Callable[[Images], Float[np.ndarray, "B h w D"]]

_MOMENT_BATCHES = 8  # batches that estimate mean and standard deviation of the teacher's channels


@struct.dataclass
class DistillState:
    """State of the training.

    Attributes:
        step: number of completed steps.
        params: parameters of the network, and `projection`, a linear layer from its features to
            the teacher's.
        opt_state: state of the optimiser.
        ema_params: exponential moving average of `params`.
    """

    step: Array
    params: Any
    opt_state: optax.OptState
    ema_params: Any


def distill(config: Config, teacher: Teacher, workdir: Path) -> None:
    """Distils a teacher's features into the template stream's, at stride 16.

    The images are the templates and the quarters of the search crops of training pairs, in which
    objects have the same size as in tracking.

    Args:
        config: configuration of the run; the loss weights in `config.train` are not used.
        teacher: computes features of images; its channels are standardised to mean 0 and standard
            deviation 1.
        workdir: folder of the metrics and the checkpoint `last`.

    Raises:
        InputError: the data cannot be used, the teacher's grid is not the network's, or the search
            crop's side is not twice the template's.
        OSError: `workdir` cannot be written.
    """
    model, train = config.model, config.train
    if model.search_size != 2 * model.template_size:
        raise InputError(
            f"search_size must be twice template_size, got {model.search_size} and "
            f"{model.template_size}"
        )
    sampler = PairSampler(
        open_sources(config.data.sources, config.data), config.data.shares, config.data.max_gap
    )
    batches = Batches(
        *(sampler, model, train.batch_size, train.num_steps + _MOMENT_BATCHES, config.seed),
        augmentation=config.data.augmentation,
        num_workers=config.data.num_workers,
        cache_bytes=config.data.cache_bytes,
        max_unreadable=config.data.max_unreadable,
    )

    def with_targets(batch: Batch) -> tuple[Images, Float[np.ndarray, "B h w D"]]:
        images = images_of(batch)
        return images, teacher(images)

    examples = prefetch_map(with_targets, batches, num_threads=2, ahead=4)
    closing = contextlib.closing
    with closing(batches), closing(examples), MetricsWriter(workdir) as writer:
        first = np.concatenate([next(examples)[1] for _ in range(_MOMENT_BATCHES)])
        check_grid(first, model)
        moments = first.mean((0, 1, 2)), first.std((0, 1, 2)) + 1e-6
        variables = init_variables(model, config.seed)
        params = variables["params"]
        if train.layer_scale is not None:
            params = with_layer_scale(params, train.layer_scale)
        state = create_distill_state(params, train, model.widths[-1], first.shape[-1])
        step = jax.jit(make_distill_step(model, train), donate_argnums=0)
        progress = tqdm.trange(1, train.num_steps + 1, unit="step")
        for number in progress:
            images, features = next(examples)
            state, metrics = step(state, images, (features - moments[0]) / moments[1])
            if number % config.run.log_steps == 0:
                values = {name: float(value) for name, value in metrics.items()}
                writer.scalars(number, values)
                progress.set_postfix(explained_variance=f"{values['explained_variance']:.3f}")
            if number % config.run.checkpoint_steps == 0 or number == train.num_steps:
                params = {**state.ema_params}
                del params["projection"]
                about = {"kind": "distilled", "step": number, "run": fingerprint(config)}
                checkpoint.save(
                    *(workdir / "last", model, {**variables, "params": params}, about),
                    overwrite=True,
                )


def prefetch_map(
    function: Callable[[Item], Result], items: Iterable[Item], num_threads: int, ahead: int
) -> Generator[Result, None, None]:
    """Maps a function over items in threads, in order, at most `ahead` items in advance."""
    with ThreadPoolExecutor(num_threads) as pool:
        tasks = (pool.submit(function, item) for item in items)
        pending = collections.deque(itertools.islice(tasks, ahead))
        while pending:
            yield pending.popleft().result()
            pending.extend(itertools.islice(tasks, 1))


def images_of(batch: Batch) -> Images:
    """Returns the templates of B pairs and the quarters of their search crops: 5 B images."""
    B, Z = batch.template.shape[:2]
    quarters = batch.search.reshape(B, 2, Z, 2, Z, 3).swapaxes(2, 3).reshape(4 * B, Z, Z, 3)
    return np.concatenate([batch.template, quarters])


def check_grid(features: Float[np.ndarray, "B h w D"], model: ModelConfig) -> None:
    """Raises `InputError` unless the teacher's grid is that of the network at stride 16."""
    cells = model.template_size // 16
    if features.shape[1:3] != (cells, cells):
        raise InputError(
            f"the teacher makes {features.shape[1]} x {features.shape[2]} features of images of "
            f"{model.template_size} pixels; {cells} x {cells} were expected, at stride 16"
        )


def create_distill_state(
    params: Any, train: TrainConfig, width: int, num_channels: int
) -> DistillState:
    """Returns the state before the first step.

    Args:
        params: parameters of the network.
        train: optimisation settings.
        width: channels of the network's features.
        num_channels: channels of the teacher's features.
    """
    kernel = jax.random.normal(jax.random.key(0), (width, num_channels)) / math.sqrt(width)
    params = {**params, "projection": {"kernel": kernel, "bias": jnp.zeros(num_channels)}}
    return DistillState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=make_optimizer(train).init(params),
        ema_params=jax.tree.map(jnp.array, params),
    )


def make_distill_step(
    model: ModelConfig, train: TrainConfig
) -> Callable[[DistillState, Images, Array], tuple[DistillState, dict[str, Array]]]:
    """Returns the step, to be jitted: (state, images, standardised targets) to (state, metrics).

    The metric `explained_variance` is the fraction of the targets' variance that the network
    explains.
    """
    network, optimizer = AsymTrack(model), make_optimizer(train)

    def loss(params: Any, images: Images, targets: Float[Array, "B h w D"]) -> Array:
        features = network.apply({"params": params}, normalise(images), method="template_features")
        projection = nn.Dense(targets.shape[-1])
        predicted: Any = projection.apply({"params": params["projection"]}, features)
        return jnp.square(predicted - targets).mean()

    def step(
        state: DistillState, images: Images, targets: Float[Array, "B h w D"]
    ) -> tuple[DistillState, dict[str, Array]]:
        error, grads = jax.value_and_grad(loss)(state.params, images, targets)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema_params = update_ema(state.ema_params, params, train.ema_decay, state.step)
        metrics = {
            "loss": error,
            "explained_variance": 1 - error,
            "grad_norm": optax.tree.norm(grads),
        }
        return DistillState(state.step + 1, params, opt_state, ema_params), metrics

    return step


def onnx_teacher(path: Path) -> Teacher:
    """Loads NanoTrack's backbone, or another ONNX model of BGR pixels, 0 to 255, NCHW.

    Requires the extra `onnx`.

    Raises:
        InputError: the file is missing, or not an ONNX model with one output.
    """
    import onnx
    import onnxruntime
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
    except (OSError, DecodeError) as error:
        raise InputError(f"teacher: {path} is not an ONNX model: {error}") from error
    if len(model.graph.output) != 1:
        raise InputError(f"teacher: {path} has {len(model.graph.output)} outputs, 1 was expected")
    # Published with fixed sizes; the network itself takes one image of any size.
    name = model.graph.input[0].name
    for value in (model.graph.input[0], model.graph.output[0]):
        for axis in (2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{axis}"
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings)

    def features_of(images: Images) -> Float[np.ndarray, "B h w D"]:
        pixels = np.ascontiguousarray(images[..., ::-1].transpose(0, 3, 1, 2), np.float32)
        features = [np.asarray(session.run(None, {name: image[None]})[0]) for image in pixels]
        return np.concatenate(features).transpose(0, 2, 3, 1)

    return features_of


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("teacher", type=Path, nargs="?")
    known, rest = parser.parse_known_args(arguments)
    chosen = parse(rest, "python -m recipes.packaged_weights.distill", __doc__)
    if known.teacher is None:
        raise InputError("the first argument must be the teacher, an ONNX file; see --help")
    distill(chosen.config, onnx_teacher(known.teacher), chosen.workdir)


if __name__ == "__main__":
    enable_compilation_cache()
    run_main(main)
