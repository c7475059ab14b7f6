"""What is exported gives the model's own numbers, and runs without this package."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from jax import export

from asymtrack_jax import Tracker
from asymtrack_jax.cli import main as cli
from asymtrack_jax.cli.export import main
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data.synthetic import render_clip
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.head import Prediction
from tests import rounding

CONFIG = VARIANTS["testing"]
ROOT = Path(__file__).parents[2]

# Runs with no hook that checks shapes, and with nothing of this project to import.
RUN_STABLEHLO = """
import sys
for package in ("asymtrack_jax", "convert_weights", "flax"):
    sys.modules[package] = None
import numpy as np
from jax import export
folder, inputs, outputs = sys.argv[1:]
init_template, step = (
    export.deserialize(bytearray(open(f"{folder}/{name}.jax_export", "rb").read()))
    for name in ("init_template", "step")
)
images = np.load(inputs)
modulation = init_template.call(images["template"])
np.savez(outputs, **step.call(modulation, images["search"]))
"""


def pixels(batch: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed).integers
    sides = {"template": CONFIG.template_size, "search": CONFIG.search_size}
    return {name: draw(0, 256, (batch, side, side, 3), np.uint8) for name, side in sides.items()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory, variables) -> Path:
    directory = tmp_path_factory.mktemp("saved") / "testing"
    checkpoint.save(directory, CONFIG, variables, {})
    return directory


@pytest.fixture(scope="module")
def stablehlo(saved) -> Path:
    directory = saved.parent / "stablehlo"
    main(["--checkpoint", str(saved), "--output", str(directory), "--format", "stablehlo"])
    return directory


@pytest.fixture(scope="module")
def graphs(saved) -> Path:
    directory = saved.parent / "onnx"
    main(["--checkpoint", str(saved), "--output", str(directory), "--format", "onnx"])
    return directory


def run_onnx(graphs: Path, template: np.ndarray, search: np.ndarray) -> dict[str, np.ndarray]:
    init_template, step = (
        onnxruntime.InferenceSession(graphs / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("init_template", "step")
    )
    names = [output.name for output in init_template.get_outputs()]
    arrays = init_template.run(names, {"template": template})
    modulation = dict(zip(names, map(np.asarray, arrays), strict=True))
    boxes, scores = step.run(["boxes", "scores"], {**modulation, "search": search})
    return {"boxes": np.asarray(boxes), "scores": np.asarray(scores)}


def assert_same(found: Mapping[str, np.ndarray], expected: Prediction) -> None:
    """As two float32 programs can be."""
    for name, value in found.items():
        expected_value = getattr(expected, name)
        np.testing.assert_allclose(value, expected_value, rtol=0, atol=rounding.BETWEEN_TWO)


def test_stablehlo_runs_without_this_package(tmp_path, stablehlo, model):
    """And at XLA's default flags."""
    images = pixels()
    np.savez(tmp_path / "inputs.npz", template=images["template"], search=images["search"])
    command = [sys.executable, "-c", RUN_STABLEHLO]
    paths = [stablehlo, tmp_path / "inputs.npz", tmp_path / "outputs.npz"]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    subprocess.run([*command, *map(str, paths)], cwd=tmp_path, env=environment, check=True)
    expected = model.step(model.init_template(images["template"]), images["search"])
    with np.load(tmp_path / "outputs.npz") as outputs:
        assert_same(outputs, expected)


def test_stablehlo_is_for_any_batch_and_platform_and_names_no_file(stablehlo):
    for name in ("init_template", "step"):
        content = (stablehlo / f"{name}.jax_export").read_bytes()
        exported = export.deserialize(bytearray(content))
        assert exported.platforms == ("cpu", "cuda", "tpu")
        assert all(str(aval.shape[0]) == "batch" for aval in exported.in_avals + exported.out_avals)
        grouped = f"feature_group_count = {CONFIG.widths[0]}"  # for all but CPUs
        assert grouped in exported.mlir_module()
        assert str(ROOT).encode() not in content


def test_onnx_runtime_gives_the_models_numbers(graphs, model):
    images = pixels()
    expected = model.step(model.init_template(images["template"]), images["search"])
    found = run_onnx(graphs, **images)
    assert_same(found, expected)


def test_onnx_rows_of_a_batch_are_what_each_would_be(graphs):
    images = pixels(batch=3, seed=1)
    together = run_onnx(graphs, **images)
    for i in range(3):
        alone = run_onnx(graphs, **{name: image[i : i + 1] for name, image in images.items()})
        for name in ("boxes", "scores"):
            bound = rounding.BETWEEN_TWO
            np.testing.assert_allclose(together[name][i], alone[name][0], rtol=0, atol=bound)


def test_onnx_depthwise_is_one_grouped_convolution_a_block(graphs):
    for name in ("init_template", "step"):
        attributes = [
            a
            for node in onnx.load(graphs / f"{name}.onnx").graph.node
            for a in node.attribute
            if node.op_type == "Conv" and a.name == "group"
        ]
        groups = sorted(attribute.i for attribute in attributes if attribute.i > 1)
        assert groups == sorted(np.repeat(CONFIG.widths, CONFIG.depths))


def test_example_follows_as_the_tracker_does(tmp_path, graphs, model):
    clip = render_clip(10, size=(120, 160))
    for i, frame in enumerate(clip):
        cv2.imwrite(str(tmp_path / f"{i:04d}.png"), frame[..., ::-1])
    tracker = Tracker(model)
    tracker.init(clip[0], clip.boxes[0])
    expected = [tracker.update(clip[i])[0] for i in range(1, len(clip))]
    bbox = ",".join(map(str, clip.boxes[0]))
    command = [sys.executable, ROOT / "examples" / "track_onnx.py", graphs, tmp_path / "%04d.png"]
    printed = subprocess.run(
        [*map(str, command), "--init-bbox", bbox],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(blocked(tmp_path))},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rows = np.array([line.split(",") for line in printed.splitlines()], np.float64)
    np.testing.assert_allclose(rows[0], [*clip.boxes[0], 1], atol=1e-3)
    np.testing.assert_allclose(rows[1:, :4], expected, rtol=0, atol=0.5)


def blocked(folder: Path) -> Path:
    """A folder whose modules stand in for what must not be imported, and fail if it is."""
    shadow = folder / "shadow"
    shadow.mkdir()
    for name in ("asymtrack_jax", "jax", "flax", "onnx"):
        (shadow / f"{name}.py").write_text(f"raise ImportError('{name} is not wanted here')\n")
    return shadow


def test_crops_are_beside_the_programs(graphs, stablehlo):
    for directory in (graphs, stablehlo):
        crops = json.loads((directory / "tracker.json").read_text())
        assert crops == {
            "template_size": CONFIG.template_size,
            "template_factor": CONFIG.template_factor,
            "search_size": CONFIG.search_size,
            "search_factor": CONFIG.search_factor,
        }


def test_an_output_that_exists_is_kept_unless_told(tmp_path, saved):
    arguments = ["--checkpoint", str(saved), "--output", str(tmp_path), "--format", "onnx"]
    with pytest.raises(InputError, match="exists; choose another, or pass --overwrite"):
        main(arguments)
    assert not list(tmp_path.iterdir())
    main([*arguments, "--overwrite"])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"init_template.onnx", "step.onnx", "tracker.json"}


@pytest.mark.parametrize(("chosen", "package"), [("onnx", "onnx"), ("stablehlo", "flatbuffers")])
def test_missing_extras_are_named(tmp_path, saved, monkeypatch, chosen, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"asymtrack_jax.export.{chosen}", raising=False)
    output = tmp_path / "out"
    arguments = ["--checkpoint", str(saved), "--output", str(output), "--format", chosen]
    with pytest.raises(InputError, match=rf"export needs {package}.*'\.\[{chosen}\]'"):
        cli.main(["export", *arguments])
    assert not output.exists()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(InputError, match="no checkpoint at"):
        main(["--checkpoint", str(tmp_path), "--output", str(tmp_path / "x"), "--format", "onnx"])
