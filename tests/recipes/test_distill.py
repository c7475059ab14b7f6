import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from asymtrack_jax.config import Config, RunConfig, TrainConfig
from asymtrack_jax.configs.loading import load_config
from asymtrack_jax.data.augment import Batch
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import checkpoint
from recipes.packaged_weights import distill


def mean_colours(images: np.ndarray) -> np.ndarray:
    """A teacher that sees the mean colour of each 16 x 16 pixels."""
    B, Z = images.shape[:2]
    return images.reshape(B, Z // 16, 16, Z // 16, 16, 3).mean((2, 4), dtype=np.float32)


@pytest.fixture(scope="module")
def config() -> Config:
    testing = load_config("testing")
    train = TrainConfig(
        batch_size=4,
        epochs=1,
        pairs_per_epoch=160,
        learning_rate=1e-2,
        backbone_multiplier=1.0,
        clip_norm=1.0,
        layer_scale=0.3,
        ema_decay=0.5,
    )
    return dataclasses.replace(testing, train=train, run=RunConfig(log_steps=5))


def test_a_network_learns_what_its_teacher_sees(config: Config, tmp_path: Path):
    distill.distill(config, mean_colours, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["explained_variance"] > max(0.5, lines[0]["explained_variance"])
    kept = checkpoint.read(tmp_path / "last")
    assert kept.metadata["kind"] == "distilled"
    assert kept.metadata["step"] == lines[-1]["step"] == 40
    assert kept.variables["params"].keys() == {"backbone", "neck", "head"}
    assert (kept.variables["params"]["backbone"]["stage1"]["blocks_0"]["gamma"] != 0.3).any()


def test_the_quarters_of_a_search_crop_are_images_of_their_own():
    template = np.zeros((2, 32, 32, 3), np.uint8)
    search = np.zeros((2, 64, 64, 3), np.uint8)
    search[1, :32, 32:] = 7  # the second pair's, above on the right
    images = distill.images_of(Batch(template, search, np.zeros((2, 4), np.float32)))
    assert images.shape == (10, 32, 32, 3)
    assert np.flatnonzero(images.mean((1, 2, 3)) == 7).tolist() == [2 + 4 + 1]


def test_a_teacher_of_another_stride_is_refused(config: Config, tmp_path: Path):
    with pytest.raises(InputError, match="2 x 2 features of images of 64 pixels; 4 x 4"):
        distill.distill(config, lambda images: mean_colours(images)[:, ::2, ::2], tmp_path)


def test_crops_of_other_proportions_are_refused(config: Config, tmp_path: Path):
    model = dataclasses.replace(config.model, search_size=96)
    with pytest.raises(InputError, match="must be twice template_size, got 96 and 64"):
        distill.distill(dataclasses.replace(config, model=model), mean_colours, tmp_path)


def test_an_onnx_teacher_gets_bgr_of_any_size(tmp_path: Path):
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32)[:, :, None, None], "weight")
    conv = helper.make_node("Conv", ["input", "weight"], ["output"], strides=[16, 16])
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, side, side])
        for name, side in (("input", 255), ("output", 16))
    ]
    graph = helper.make_graph([conv], "backbone", values[:1], values[1:], [weight])
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "t.onnx")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    features = distill.onnx_teacher(tmp_path / "t.onnx")(images)
    np.testing.assert_array_equal(features, images[:, ::16, ::16, ::-1])


def test_what_is_no_onnx_model_is_refused(tmp_path: Path):
    path = tmp_path / "t.onnx"
    for content in (None, b"<html>not found</html>"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match="is not an ONNX model"):
            distill.onnx_teacher(path)


def test_results_come_in_order_and_reading_ahead_is_bounded():
    started = []

    def double(item):
        started.append(item)
        if item == 30:
            raise ValueError("no thirty")
        return 2 * item

    results = distill.prefetch_map(double, range(40), num_threads=3, ahead=5)
    for expected in range(30):
        assert next(results) == 2 * expected
        assert max(started) <= expected + 5
    with pytest.raises(ValueError, match="no thirty"):
        next(results)


def test_help_is_shown_and_a_missing_teacher_is_named(capsys):
    with pytest.raises(SystemExit) as ended:
        distill.main(["--help"])
    assert ended.value.code == 0
    assert "distill nanotrack_backbone.onnx" in capsys.readouterr().out
    with pytest.raises(InputError, match="the first argument must be the teacher"):
        distill.main([])
