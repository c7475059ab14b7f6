"""The command, from a checkpoint on disk to the report."""

import contextlib
import dataclasses
import hashlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest

from asymtrack_jax import weights
from asymtrack_jax.cli import evaluate
from asymtrack_jax.config import VARIANTS, Synthetic
from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import benchmarks, command, plots
from asymtrack_jax.evaluation.benchmarks import BENCHMARKS
from asymtrack_jax.models import checkpoint
from tests.evaluation.sequences import FakeSlots, write_sequences


@dataclasses.dataclass
class Workplace:
    """A dataset with a good and a broken sequence, two checkpoints, and a first run over them."""

    root: Path
    status: int = -1
    out: str = ""
    err: str = ""

    def command(self, *extra, data="data", weights="weights", output="results"):
        return [
            *("--dataset", "folder", "--data_dir", str(self.root / data)),
            *("--checkpoint", str(self.root / weights)),
            *("--output", str(self.root / output), *extra),
        ]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, variables):
    root = tmp_path_factory.mktemp("workplace")
    write_data(root / "data")
    frame = root / "data" / "broken" / "img" / "0001.jpg"
    frame.write_bytes(frame.read_bytes()[:1000])

    others = jax.tree.map(lambda leaf: leaf * 2, variables)
    checkpoint.save(root / "weights", VARIANTS["testing"], variables, {})
    checkpoint.save(root / "others", VARIANTS["testing"], others, {})

    place = Workplace(root)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        place.status = evaluate.main(place.command())
    place.out, place.err = out.getvalue(), err.getvalue()
    return place


def write_data(directory):
    rng = np.random.default_rng(0)
    for name in ("broken", "good"):
        images = directory / name / "img"
        images.mkdir(parents=True)
        for index in range(3):
            frame = rng.integers(0, 256, (90, 120, 3), np.uint8)
            cv2.imwrite(str(images / f"{index:04}.jpg"), frame)
        lines = ["40.5,30.5,20,16", "nan,nan,nan,nan", "42.5,30.5,20,16"]
        (images.parent / "groundtruth.txt").write_text("\n".join(lines))


@pytest.fixture
def fake(monkeypatch):
    """Slots that need no network take the place of the real ones; how many were asked for.

    Plots are left out, as they take long.
    """
    counts = []
    monkeypatch.setattr(plots, "write_plots", lambda report, directory: {})
    monkeypatch.setattr(plots, "write_reliability", lambda *arguments: {})

    def slots(model, count):
        counts.append(count)
        return FakeSlots(count)

    monkeypatch.setattr(command, "make_batch_tracker", slots)
    return counts


def test_a_run_tracks_writes_and_prints(workplace):
    assert "folder, lasot protocol, 1 of 2 sequences, 3 frames" in workplace.out
    assert "1 sequences finished now, 0 before" in workplace.out
    assert "4/4" in workplace.err  # all frames that can be tracked: two of the broken sequence not
    results = workplace.root / "results" / "boxes"
    boxes = read_boxes(results / "good.txt")
    assert boxes.shape == (3, 4)
    np.testing.assert_array_equal(boxes[0], [40, 30, 20, 16])
    np.testing.assert_array_equal(boxes, np.trunc(boxes))
    assert len((results / "good_time.txt").read_text().splitlines()) == 3


def test_a_run_leaves_a_report_and_pictures(workplace):
    written = {path.name for path in (workplace.root / "results").iterdir()}
    plotted = {f"{name}.{kind}" for name in CURVES for kind in ("png", "pdf")}
    plotted |= {"score.png", "score.pdf"}
    assert written == plotted | {"boxes", "report.html", "report.json", "report.md", "worst.png"}
    content = json.loads((workplace.root / "results" / "report.json").read_text())
    assert content["trackers"][0]["name"] == "weights"
    assert content["trackers"][0]["frames_per_second"] > 0
    assert "weights lacks results for 1 of 2 sequences: broken" in content["notes"]


ROOT = Path(__file__).parents[2]
ONE_PIXEL = np.array([1, 1, 0, 0])
CURVES = ("success", "precision", "norm_precision")


def test_a_corrupt_frame_fails_its_sequence_alone(workplace):
    assert workplace.status == 1
    frame = workplace.root / "data" / "broken" / "img" / "0001.jpg"
    assert f"failed: broken: frame {frame} is truncated" in workplace.out
    assert not (workplace.root / "results" / "boxes" / "broken.txt").exists()


def test_the_manifest_says_what_made_the_results(workplace):
    path = workplace.root / "results" / "boxes" / "manifest.json"
    manifest = json.loads(path.read_text())
    weights = (workplace.root / "weights" / "model.safetensors").read_bytes()
    assert manifest["checkpoint_sha256"] == hashlib.sha256(weights).hexdigest()
    assert manifest["dataset"] == "folder"
    assert manifest["protocol"] == "lasot"
    assert manifest["variant"] == "testing"
    assert manifest["precision"].startswith("float32")
    assert manifest["device"].startswith("cpu")
    assert manifest["result_format"] == "int"
    assert manifest["command"].startswith("asymtrack evaluate --dataset folder --data_dir ")
    assert manifest["options"]["data_dir"] == str(workplace.root / "data")
    assert manifest["options"]["batch_size"] == 1
    assert manifest["versions"].keys() == {"python", "jax", "flax", "numpy", "opencv"}


def test_a_second_run_skips_what_is_finished(workplace, fake, capsys):
    good = workplace.root / "finished_data"
    shutil.copytree(workplace.root / "data" / "good", good / "good")
    result = workplace.root / "results" / "boxes" / "good.txt"
    before = result.stat().st_mtime_ns
    command = workplace.command("--protocol", "lasot-legacy", data="finished_data")
    assert evaluate.main(command) == 0
    printed = capsys.readouterr().out
    assert "lasot-legacy protocol" in printed
    assert "0 sequences finished now, 1 before" in printed
    assert result.stat().st_mtime_ns == before


def test_results_of_two_runs_are_never_mixed(workplace, fake):
    with pytest.raises(InputError, match="checkpoint_sha256"):
        evaluate.main(workplace.command(weights="others"))
    with pytest.raises(InputError, match="result_format int, now float"):
        evaluate.main(workplace.command("--float-results"))


def test_a_missing_checkpoint_leaves_nothing_behind(workplace):
    with pytest.raises(InputError, match="no checkpoint at"):
        evaluate.main(workplace.command(weights="nowhere", output="unused"))
    assert not (workplace.root / "unused").exists()


@pytest.fixture
def place(tmp_path, monkeypatch, model):
    """Four sequences, and no network: what `--checkpoint` would load is not used."""

    def load(directory, dtype):
        monkeypatch.setattr(model, "dtype", np.dtype(dtype))
        return model

    monkeypatch.setattr(command.models, "load", load)
    monkeypatch.chdir(tmp_path)
    write_sequences(tmp_path / "root" / "folder", {"a": 3, "b": 5, "c": 3, "d": 2})
    monkeypatch.setenv("ASYMTRACK_DATA", str(tmp_path / "root"))
    return tmp_path


def test_data_sets_are_found_below_one_folder_and_results_have_a_place(place, fake, capsys):
    assert evaluate.main(["--dataset", "folder", "--float_results"]) == 0
    output = place / "results" / "folder"
    assert read_boxes(output / "boxes" / "b.txt")[4, 0] == 10.5
    assert "4 of 4 sequences, 13 frames" in capsys.readouterr().out
    manifest = json.loads((output / "boxes" / "manifest.json").read_text())
    assert manifest["checkpoint_sha256"] == checkpoint.sha256(weights.TINY)
    with pytest.raises(InputError, match=r"no folder .*root/otb100: expected OTB100"):
        evaluate.main(["--dataset", "otb100"])


def test_results_of_two_precisions_are_never_mixed(place, fake):
    arguments = ["--dataset", "folder"]
    assert evaluate.main([*arguments, "--precision", "bfloat16"]) == 0
    boxes = place / "results" / "folder" / "boxes"
    manifest = json.loads((boxes / "manifest.json").read_text())
    assert manifest["precision"] == "bfloat16, matrix products default"
    with pytest.raises(InputError, match=r"precision bfloat16, .*, now float32, "):
        evaluate.main(arguments)


def test_a_data_set_must_be_somewhere(place, monkeypatch):
    monkeypatch.delenv("ASYMTRACK_DATA")
    for name, benchmark in BENCHMARKS.items():
        if benchmark.layout:
            with pytest.raises(InputError, match=f"where is {name}. Pass --data-dir, or set ASYM"):
                evaluate.main(["--dataset", name])


def test_the_default_is_rendered_clips_and_needs_nothing(place, fake, monkeypatch, capsys):
    render, small = benchmarks.synthetic.read_sequences, Synthetic(2, 4, 64, 96)
    monkeypatch.setattr(benchmarks.synthetic, "read_sequences", lambda: render(small))
    assert evaluate.main([]) == 0
    assert "synthetic, lasot protocol, 2 of 2 sequences, 8 frames" in capsys.readouterr().out
    assert (place / "results" / "synthetic" / "worst.png").exists()


WITHOUT_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = None
from asymtrack_jax.cli.main import main
from asymtrack_jax.evaluation import benchmarks
from asymtrack_jax.config import Synthetic
render = benchmarks.synthetic.read_sequences
benchmarks.synthetic.read_sequences = lambda: render(Synthetic(2, 4, 64, 96))
sys.exit(main(["evaluate", "--tracker", "opencv:mil", "--output", sys.argv[1]]))
"""


def test_without_matplotlib_all_but_the_plots_is_there(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_MATPLOTLIB, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "synthetic, lasot protocol, 2 of 2 sequences, 8 frames" in done.stdout
    assert "success AUC" in done.stdout
    note = "note: no plots: they need matplotlib; in a checkout: pip install -e '.[eval]'\n"
    assert done.stdout.count(note) == 1
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"opencv-mil", "report.html", "report.json", "report.md", "worst.png"}


def test_shards_share_one_output(place, fake, capsys):
    arguments = ["--dataset", "folder", "--batch-size", "8", "--shard"]
    assert evaluate.main([*arguments, "2/3"]) == 0
    assert "1 of 4 sequences" in capsys.readouterr().out
    boxes = place / "results" / "folder" / "boxes"
    assert [path.name for path in boxes.glob("?.txt")] == ["b.txt"]
    for shard in ("1/3", "3/3"):
        assert evaluate.main([*arguments, shard]) == 0
    assert "4 of 4 sequences" in capsys.readouterr().out
    assert fake == [1, 2, 1]  # no more slots than there are sequences
    for bad in ("0/3", "4/3", "3", "a/b", "1/2/3"):
        with pytest.raises(InputError, match=f"--shard {bad}: expected I/N"):
            evaluate.main([*arguments, bad])


@pytest.mark.parametrize("option", ["--batch-size", "--workers"])
def test_counts_must_be_positive(place, option):
    with pytest.raises(InputError, match="must be at least 1"):
        evaluate.main(["--dataset", "folder", option, "0"])


def test_results_of_any_tracker_are_scored_without_network_and_images(place, monkeypatch, capsys):
    monkeypatch.delattr(command.models, "load")
    for tracker, shift in (("mine", 0), ("theirs", 3)):
        (place / tracker).mkdir()
        for name, start, length in (("a", 5.5, 3), ("b", 6.5, 5), ("c", 7.5, 3), ("d", 8.5, 2)):
            lines = [f"{start + i + shift + 1} 7 10 12" for i in range(length)]
            (place / tracker / f"{name}.txt").write_text("\n".join(lines))
        shutil.rmtree(place / "root" / "folder" / "b" / "img", ignore_errors=True)
    arguments = ["--dataset", "folder", "--results", "theirs", "--results", str(place / "mine")]
    assert evaluate.main([*arguments, "--origin", "1"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "mine 95.24 100.00 100.00 - -" in lines
    assert [line.split()[0] for line in lines[3:5]] == ["mine", "theirs"]
    assert not any("contact sheet" in line for line in lines)  # there are no images
    output = place / "results" / "folder_comparison"
    assert {path.name for path in output.iterdir()} == {
        "report.html",
        "report.json",
        "report.md",
    } | {f"{name}.{kind}" for name in CURVES for kind in ("png", "pdf")}
    with pytest.raises(InputError, match="no folder nowhere: --results names a folder"):
        evaluate.main([*arguments, "--results", "nowhere"])


def test_an_output_can_be_scored_again_and_trackers_need_names(place, fake, capsys):
    evaluate.main(["--dataset", "folder", "--output", "x"])
    evaluate.main(["--dataset", "folder", "--output", "y/x", "--float-results"])
    capsys.readouterr()
    named = ["--results", "x", "--results", "y/x", "--results", "y/x/boxes"]
    evaluate.main(["--dataset", "folder", *named])
    content = json.loads((place / "results" / "folder_comparison" / "report.json").read_text())
    assert sorted(each["name"] for each in content["trackers"]) == ["x", "y/x", "y/x/boxes"]


def test_results_can_be_named(place, fake):
    evaluate.main(["--dataset", "folder", "--output", "x"])
    evaluate.main(["--dataset", "folder", "--results", "mine=x", "--results=x"])
    content = json.loads((place / "results" / "folder_comparison" / "report.json").read_text())
    assert [each["name"] for each in content["trackers"]] == ["mine", "x"]
    with pytest.raises(InputError, match="another one is called mine; use NAME=PATH"):
        evaluate.main(["--dataset", "folder", "--results", "mine=x", "--results", "mine=x/boxes"])
    with pytest.raises(InputError, match="another one is called tiny; use NAME=PATH"):
        evaluate.main(["--dataset", "folder", "--results", "tiny=x", "--tracker", "asymtrack"])


def test_trackers_of_others_are_run_and_compared(place, fake, monkeypatch, capsys):
    (place / "their_tracker.py").write_text(
        "class Still:\n"
        "    def init(self, frame, bbox):\n        self.bbox = bbox\n"
        "    def update(self, frame):\n        return self.bbox\n"
    )
    monkeypatch.syspath_prepend("")
    arguments = ["--dataset", "folder", "--tracker", "their_tracker:Still", "--tracker"]
    assert evaluate.main([*arguments, "asymtrack"]) == 0
    printed = capsys.readouterr().out
    assert "their_tracker-Still: 4 sequences finished now, 0 before" in printed
    output = place / "results" / "folder_comparison"
    content = json.loads((output / "report.json").read_text())
    assert [each["name"] for each in content["trackers"]] == ["tiny", "their_tracker-Still"]
    manifest = json.loads((output / "their_tracker-Still" / "boxes" / "manifest.json").read_text())
    assert manifest["tracker"] == "their_tracker:Still"
    assert "checkpoint_sha256" not in manifest
    assert evaluate.main(arguments[:-1]) == 0
    assert "Still: 0 sequences finished now, 4 before" in capsys.readouterr().out
    with pytest.raises(InputError, match="two are called their_tracker-Still"):
        evaluate.main([*arguments, "their_tracker:Still"])
    with pytest.raises(InputError, match="is the network's: add --tracker asymtrack"):
        evaluate.main([*arguments[:-1], "--batch-size", "2"])


def test_sequences_are_selected_by_name(place, fake, capsys):
    (place / "names.txt").write_text("d\n\na \n")
    for text in ("d,a", "names.txt"):
        assert (
            evaluate.main(["--dataset", "folder", "--sequences", text, "--output", "x" + text]) == 0
        )
        printed = capsys.readouterr().out
        assert "2 of 2 sequences, 5 frames" in printed
        assert "note: only the sequences that --sequences names (2)" in printed
        assert sorted(path.name for path in (place / f"x{text}" / "boxes").glob("?.txt")) == [
            "a.txt",
            "d.txt",
        ]
    with pytest.raises(InputError, match="no sequence 'e': there are 4, such as a"):
        evaluate.main(["--dataset", "folder", "--sequences", "a,e"])
    (place / "names.txt").write_text("\n")
    with pytest.raises(InputError, match=r"names\.txt names no sequence"):
        evaluate.main(["--dataset", "folder", "--sequences", "names.txt"])


def test_a_part_of_a_benchmark_is_evaluated_on_demand(place, fake, capsys):
    root = place / "root" / "lasot" / "airplane"
    for name in ("airplane-1", "airplane-9"):
        shutil.copytree(place / "root" / "folder" / "a", root / name)
        for label in ("full_occlusion.txt", "out_of_view.txt"):
            (root / name / label).write_text("0,0,0")
        for index in range(3):
            (root / name / "img" / f"{index}.png").rename(
                root / name / "img" / f"{index + 1:08}.jpg"
            )
    with pytest.raises(InputError, match="278 of 280 sequences cannot be read") as caught:
        evaluate.main(["--dataset", "lasot"])
    assert "--allow-missing` evaluates the sequences that are there" in str(caught.value)
    assert evaluate.main(["--dataset", "lasot", "--allow-missing"]) == 0
    printed = capsys.readouterr().out
    assert "lasot, lasot protocol, 2 of 280 sequences, 6 frames" in printed
    assert "note: lasot has 280 sequences, of which 2 are evaluated" in printed
    assert evaluate.main(["--dataset", "lasot", "--sequences", "airplane-9"]) == 0
    assert "1 of 280 sequences" in capsys.readouterr().out
    (root / "airplane-9" / "groundtruth.txt").write_text("1,2,3\n")
    with pytest.raises(InputError, match="1 of 2 sequences cannot be read"):
        evaluate.main(["--dataset", "lasot", "--allow-missing"])


def test_withheld_annotation_makes_an_archive(place, fake, capsys):
    test = place / "root" / "got10k" / "test"
    for name in ("GOT-10k_Test_000001", "GOT-10k_Test_000002"):
        (test / name).mkdir(parents=True)
        (test / name / "groundtruth.txt").write_text("5,6,10,12\n")
        for number in (1, 2, 3):
            image = np.full((30, 40, 3), number, np.uint8)
            cv2.imwrite(str(test / name / f"{number:08}.jpg"), image)
    (test / "list.txt").write_text("GOT-10k_Test_000001\nGOT-10k_Test_000002\n")
    assert evaluate.main(["--dataset", "got10k_test", "--shard", "1/2"]) == 0
    printed = capsys.readouterr()
    assert "no archive for GOT-10k: 1 results cannot be submitted" in printed.err
    assert evaluate.main(["--dataset", "got10k_test"]) == 0
    printed = capsys.readouterr()
    assert "2 checked results for GOT-10k's server" in printed.out
    assert "the annotation is withheld" in printed.out
    assert "published, not measured here:\ntracker " in printed.out
    archive = place / "results" / "got10k_test" / "tiny_got10k.zip"
    boxes = place / "results" / "got10k_test" / "boxes"
    assert evaluate.main(["--dataset", "got10k_test", "--results", f"mine/1={boxes}"]) == 0
    output = place / "results" / "got10k_test_comparison"
    assert (output / "mine_1_got10k.zip").read_bytes() == archive.read_bytes()
    archive.unlink()
    assert evaluate.main(["--dataset", "got10k_test", "--sequences", "GOT-10k_Test_000001"]) == 0
    assert "no archive for GOT-10k: it takes all sequences" in capsys.readouterr().out
    assert not archive.exists()


def test_sequences_of_which_only_the_first_box_is_known_are_not_scored(place, fake, capsys):
    for name, num_frames in {"a": 3, "b": 5, "c": 3, "d": 2}.items():
        if name == "d":
            assert evaluate.main(["--dataset", "folder"]) == 0
            printed = capsys.readouterr().out
            assert "1 of 4 sequences" in printed
            assert "folder has 4 sequences, of which 1 are evaluated" in printed
        lines = ["5,6,10,12", *["nan,nan,nan,nan"] * (num_frames - 1)]
        (place / "root" / "folder" / name / "groundtruth.txt").write_text("\n".join(lines))
    assert evaluate.main(["--dataset", "folder", "--output", "x"]) == 0
    printed = capsys.readouterr().out
    assert "nothing to score, as only first frames have true boxes" in printed
    assert "None" not in printed


def test_lasot_has_its_attributes():
    attributes = benchmarks.lasot_attributes()
    assert len(attributes) == 14
    assert len(attributes["scale variation"]) == 273
    assert "airplane-1" in attributes["illumination variation"] | attributes["low resolution"]


def test_otb_counts_from_1_as_its_results_do(place, fake, monkeypatch, capsys):
    sequences = benchmarks.read_sequences("folder", None)
    otb = dataclasses.replace(BENCHMARKS["otb100"], layout="", read=lambda *_: sequences)
    monkeypatch.setitem(BENCHMARKS, "otb100", otb)
    assert evaluate.main(["--dataset", "otb100"]) == 0
    boxes = read_boxes(place / "results" / "otb100" / "boxes" / "a.txt")
    np.testing.assert_array_equal(boxes, np.trunc(sequences[0].boxes + ONE_PIXEL))
    (place / "theirs").mkdir()
    for each in sequences:
        np.savetxt(place / "theirs" / f"{each.name}.txt", each.boxes + ONE_PIXEL)
    arguments = ["--dataset", "otb100", "--results", "theirs", "--results"]
    assert evaluate.main([*arguments, "results/otb100"]) == 0
    content = json.loads((place / "results" / "otb100_comparison" / "report.json").read_text())
    assert [each["precision"] for each in content["trackers"]] == [100, 100]
    assert content["trackers"][0]["name"] == "theirs"
    assert content["trackers"][0]["success_auc"] == pytest.approx(100 * 20 / 21)
    assert not [note for note in content["notes"] if "first box" in note]
    assert evaluate.main([*arguments, "results/otb100", "--origin", "0"]) == 0
    assert "2 results with another first box" not in capsys.readouterr().out
    content = json.loads((place / "results" / "otb100_comparison" / "report.json").read_text())
    assert len([note for note in content["notes"] if "first box" in note]) == 2


def test_a_tiny_first_box_fails_its_sequence_alone(place, fake, capsys):
    annotation = place / "root" / "folder" / "b" / "groundtruth.txt"
    annotation.write_text("10,10,1e-200,1e-200\n" * 5)
    assert evaluate.main(["--dataset", "folder"]) == 1
    printed = capsys.readouterr().out
    assert "failed: b: init_bbox x, y, w, h = 10, 10, 1e-200, 1e-200: width and height" in printed
    assert "3 sequences finished now" in printed


def test_an_output_that_cannot_be_written_is_reported_all_the_same(
    place, fake, monkeypatch, capsys
):
    assert evaluate.main(["--dataset", "folder"]) == 0
    capsys.readouterr()

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied", "worst.png")

    monkeypatch.setattr(command.sheet, "write_contact_sheet", refuse)
    monkeypatch.setattr(command.tables, "write", refuse)
    assert evaluate.main(["--dataset", "folder"]) == 1
    printed = capsys.readouterr()
    assert "folder, lasot protocol, 4 of 4 sequences" in printed.out
    assert "the report could not be written: [Errno 13]" in printed.err


def test_damaged_scores_leave_out_their_plot_alone(place, fake, monkeypatch, capsys):
    monkeypatch.undo()
    (place / "mine").mkdir()
    for each in benchmarks.read_sequences("folder", place / "root" / "folder"):
        np.savetxt(place / "mine" / f"{each.name}.txt", each.boxes)
    (place / "mine" / "a_score.txt").write_text("1\nnan\n0.5\n")
    monkeypatch.setattr(plots, "write_plots", lambda report, directory: {})
    data = ["--dataset", "folder", "--data-dir", str(place / "root" / "folder")]
    assert evaluate.main([*data, "--results", str(place / "mine"), "--output", str(place)]) == 0
    printed = capsys.readouterr().out
    assert "note: no plot of scores: the scores of " in printed
    assert "mine" in printed


def test_an_empty_output_is_refused(place):
    for arguments in (["--output", ""], ["--output="]):
        with pytest.raises(InputError, match=r"--output=? is empty: give it a value"):
            evaluate.main(["--dataset", "folder", *arguments])


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        ([], True),
        (["--tracker", "opencv:mil", "--tracker", "asymtrack", "--results", "R"], True),
        (["--tracker", "opencv:mil"], False),
        (["--results", "R"], False),
    ],
)
def test_native_kernels_are_suggested_where_they_would_run(arguments, suggested, monkeypatch):
    calls = []
    monkeypatch.setattr(evaluate, "suggest_native_kernels", lambda: calls.append(True))
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: 0)
    evaluate.main(arguments)
    assert bool(calls) == suggested
