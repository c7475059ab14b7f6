"""What is exported gives the model's own numbers, and runs without this package."""

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from jax import export
from onnx import helper

from asymtrack_jax import Tracker
from asymtrack_jax.cli import main as cli
from asymtrack_jax.cli.export import main
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data.synthetic import render_clip
from asymtrack_jax.errors import InputError
from asymtrack_jax.export.files import describe
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.head import Prediction
from asymtrack_jax.tracking.calibration import Calibration
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
from onnx import helper
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


@pytest.fixture(scope="module")
def followed(tmp_path_factory, model) -> tuple[Path, str, np.ndarray]:
    """A clip as numbered images, its first box as text, and where the tracker finds its target."""
    folder, clip, tracker = (
        tmp_path_factory.mktemp("clip"),
        render_clip(10, (120, 160)),
        Tracker(model),
    )
    for i, frame in enumerate(clip):
        cv2.imwrite(str(folder / f"{i:04d}.png"), frame[..., ::-1])
    tracker.init(clip[0], clip.boxes[0])
    boxes = [clip.boxes[0], *(tracker.update(clip[i])[0] for i in range(1, len(clip)))]
    return folder / "%04d.png", ",".join(map(str, clip.boxes[0])), np.array(boxes)


def run_example(name: str, *arguments: object, without: Sequence[str], folder: Path) -> np.ndarray:
    """The rows that an example of tracking prints, run where some packages cannot be imported."""
    for package in without:
        content = f"raise ImportError('{package} is not wanted here')\n"
        (folder / f"{package}.py").write_text(content)
    printed = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return np.array([line.split(",") for line in printed.splitlines()], np.float64)


def test_onnx_example_follows_as_the_tracker_does_and_writes_a_video(tmp_path, graphs, followed):
    video, bbox, expected = followed
    arguments = (graphs, video, "--init-bbox", bbox, "--output", tmp_path / "out.mp4")
    without = ("asymtrack_jax", "jax", "flax", "onnx")
    rows = run_example("track_onnx.py", *arguments, without=without, folder=tmp_path)
    np.testing.assert_allclose(rows[:, :4], expected, rtol=0, atol=0.5)
    assert rows[0, 4] == 1
    written = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    images = [written.read()[1] for _ in range(int(written.get(cv2.CAP_PROP_FRAME_COUNT)))]
    assert len(images) == 10
    _, first = cv2.VideoCapture(str(video)).read()
    drawn = np.abs(images[0].astype(int) - first)
    x, y, _, h = expected[0].round().astype(int)
    assert drawn[y + h // 2, x - 1 : x + 2].max() > 60  # the box's left side


def test_stablehlo_example_follows_as_the_tracker_does(tmp_path, stablehlo, followed):
    video, bbox, expected = followed
    without = ("asymtrack_jax", "flax", "onnx", "onnxruntime")
    arguments = (stablehlo, video, bbox)
    rows = run_example("track_stablehlo.py", *arguments, without=without, folder=tmp_path)
    np.testing.assert_allclose(rows[:, :4], expected, rtol=0, atol=0.5)


@pytest.mark.parametrize(
    ("example", "video", "option", "bbox", "message"),
    [
        ("track_onnx.py", None, ["--init-bbox"], "1,2,30", None),
        ("track_onnx.py", None, ["--init-bbox"], "900,9,30,30", "error: no box was drawn, or it "),
        ("track_stablehlo.py", None, [], "1,2,30", "error: a box is x,y,w,h in pixels"),
        ("track_stablehlo.py", None, [], "1,b,30,30", "error: a box is x,y,w,h in pixels"),
        ("track_stablehlo.py", None, [], "900,9,30,30", "error: the box lies outside the frame"),
        ("track_stablehlo.py", "none.mp4", [], "1,2,30,30", "error: none.mp4 cannot be read"),
        ("track_stablehlo.py", None, [], None, "Tracks a target"),
    ],
)
def test_examples_refuse_bad_input_with_a_message(
    example, video, option, bbox, message, graphs, stablehlo, followed, monkeypatch, capsys
):
    folder = graphs if example == "track_onnx.py" else stablehlo
    arguments = [str(folder), str(video or followed[0]), *option, *([bbox] if bbox else [])]
    monkeypatch.setattr(sys, "argv", [example, *arguments])
    with pytest.raises(SystemExit) as refused:
        runpy.run_path(str(ROOT / "examples" / example), run_name="__main__")
    if message is None:  # argparse's
        assert "--init-bbox: invalid xywh value: '1,2,30'" in capsys.readouterr().err
    else:
        assert str(refused.value).startswith(message)


def test_what_programs_take_and_give_is_described_beside_them(graphs, stablehlo):
    for directory in (graphs, stablehlo):
        described = json.loads((directory / "tracker.json").read_text())
        assert described["template_size"] == CONFIG.template_size
        assert described["template_factor"] == CONFIG.template_factor
        assert described["search_size"] == CONFIG.search_size
        assert described["search_factor"] == CONFIG.search_factor
        assert described["precision"] == "float32"
    graph = onnx.load(graphs / "step.onnx").graph
    search = next(value for value in graph.input if value.name == "search")
    crops, boxes = described["crops"], described["boxes"]
    assert search.type.tensor_type.elem_type == helper.np_dtype_to_tensor_dtype(
        np.dtype(crops["dtype"])
    )
    assert (crops["layout"], crops["channels"]) == ("NHWC", "RGB")
    assert boxes["format"] == "cxcywh"
    assert boxes["units"].startswith("normalised coordinates of the search crop")


@pytest.mark.parametrize(
    ("calibration", "meaning"), [(Calibration(1, 0), "expected IoU"), (None, "raw")]
)
def test_what_scores_mean_is_described(calibration, meaning):
    assert describe(CONFIG, calibration)["scores"]["meaning"].startswith(meaning)


@pytest.mark.parametrize(
    ("precision", "operation", "share"), [("float16", "Cast", 0.6), ("int8", "MatMulInteger", 0.9)]
)
def test_lower_precisions_are_smaller_and_say_how_far_they_are_off(
    tmp_path, saved, graphs, capsys, precision, operation, share
):
    arguments = ["--checkpoint", str(saved), "--format", "onnx", "--precision", precision]
    main([*arguments, "--output", str(tmp_path / "out")])
    for name in ("init_template.onnx", "step.onnx"):
        path = tmp_path / "out" / name
        assert path.stat().st_size < share * (graphs / name).stat().st_size
        graph, reference = onnx.load(path).graph, onnx.load(graphs / name).graph
        assert operation in {node.op_type for node in graph.node}
        assert list(graph.input) == list(reference.input)
        assert list(graph.output) == list(reference.output)
    assert json.loads((tmp_path / "out" / "tracker.json").read_text())["precision"] == precision
    printed = capsys.readouterr().out
    (mean,) = map(float, re.findall(r"boxes differ by ([\d.]+) pixels", printed))
    assert printed.count(f"{precision} against float32") == 1
    assert 0 < mean < 0.1 * CONFIG.search_size  # random weights amplify what rounding does


def test_a_precision_of_stablehlo_is_refused(tmp_path, saved):
    arguments = ["--checkpoint", str(saved), "--output", str(tmp_path / "x")]
    with pytest.raises(InputError, match="--precision int8 is for --format onnx alone"):
        main([*arguments, "--format", "stablehlo", "--precision", "int8"])


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
