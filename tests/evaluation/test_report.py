import json

import numpy as np
import pytest

from asymtrack_jax.data.sequences import ImageFiles, Sequence
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import report
from asymtrack_jax.evaluation.protocols import PROTOCOLS
from asymtrack_jax.evaluation.results import ResultFolder

BOX = [20.0, 10, 30, 40]


def sequence(name, length=4, **extra):
    return Sequence(name, ImageFiles(()), np.tile(BOX, (length, 1)), **extra)


SEQUENCES = [sequence("a"), sequence("b", 8), sequence("c")]


def write(directory, shifts, separator=","):
    """Results whose boxes, but the first, are as far to the right as it says here."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, shift in shifts.items():
        length = 8 if name.endswith("b") else 4
        boxes = [BOX] + [[BOX[0] + shift, *BOX[1:]]] * (length - 1)
        lines = [separator.join(map(str, box)) for box in boxes]
        (directory / f"{name}.txt").write_text("\n".join(lines))
    return ResultFolder(directory.name, directory)


def compare(*folders, protocol="lasot", sequences=SEQUENCES, **extra):
    return report.compare("set", PROTOCOLS[protocol], folders, sequences, **extra)


@pytest.mark.parametrize("separator", [",", "\t", " ", ", "])
def test_results_of_any_separator_are_scored(tmp_path, separator):
    (tracker,) = compare(write(tmp_path, {"a": 0, "b": 0, "c": 0}, separator)).trackers
    assert tracker.overall.percent["success_auc"] == pytest.approx(100 * 20 / 21)
    assert tracker.num_frames == 16


def test_results_that_count_from_1_are_shifted(tmp_path):
    for each in SEQUENCES:
        np.savetxt(tmp_path / f"{each.name}.txt", each.boxes + np.array([1, 1, 0, 0]))
    compared = compare(ResultFolder("x", tmp_path, origin=1))
    assert compared.trackers[0].overall.percent["success_auc"] == pytest.approx(100 * 20 / 21)
    assert not compared.notes
    compared = compare(ResultFolder("x", tmp_path))
    assert compared.trackers[0].overall.percent["success_auc"] < 92
    (note,) = compared.notes
    assert note.startswith("x has 3 results with another first box than their sequence")
    assert note.endswith("see --origin): a, b, c")


@pytest.mark.parametrize("protocol", ["otb", "trackingnet"])
def test_what_is_odd_about_results_is_noted(tmp_path, protocol):
    folder = write(tmp_path, {"a": 0, "b": 0, "c": 0})
    lines = (tmp_path / "a.txt").read_text().splitlines(keepends=True)
    (tmp_path / "a.txt").write_text("".join(lines[:3]))
    (tmp_path / "b.txt").write_text(lines[0] * 9)
    (tmp_path / "c.txt").write_text(lines[0] + "0,0,1e200,1e200\n" * 3)
    compared = compare(folder, protocol=protocol)
    notes = "\n".join(compared.notes)
    assert "1 results shorter than their sequence (missing frames are failures): a" in notes
    assert "1 results longer than their sequence (what is beyond it was left out): b" in notes
    assert "1 results with numbers beyond 1,000,000 pixels: c" in notes
    assert len(compared.notes) == 3
    assert all(note in report.text(compared) for note in compared.notes)
    assert compared.trackers[0].sequences["c"].scores.percent["precision"] < 30


def test_results_are_found_as_other_toolkits_name_them(tmp_path):
    write(tmp_path, {"a": 0})
    write(tmp_path, {"uav_b": 0})
    (tmp_path / "c").mkdir()
    (tmp_path / "a.txt").rename(tmp_path / "c" / "c_001.txt")
    folder = ResultFolder("x", tmp_path, prefix="uav_")
    assert list(report.score_results(folder, SEQUENCES, PROTOCOLS["otb"])) == ["b", "c"]


def test_trackers_are_ranked_on_the_sequences_that_all_have(tmp_path):
    good = write(tmp_path / "good", {"a": 0, "b": 0})
    bad = write(tmp_path / "bad", {"a": 100, "b": 0, "c": 0})
    compared = compare(bad, good)
    assert [each.results.label for each in compared.trackers] == ["good", "bad"]
    assert compared.names == ["a", "b"]
    assert compared.notes == ["good lacks results for 1 of 3 sequences: c"]
    assert report.worst(compare(bad)) == ["a", "b", "c"]
    with pytest.raises(InputError, match=r"no sequence of set has a result in each of .*c\.txt"):
        compare(bad, write(tmp_path / "none", {}), sequences=SEQUENCES[2:])


def test_damaged_results_are_named_ten_at_most(tmp_path):
    many = [sequence(f"s{number}") for number in range(12)]
    folder = write(tmp_path, {each.name: 0 for each in many})
    (tmp_path / "s0.txt").write_text("1,2,3\n")
    (tmp_path / "s1.txt").write_text("1,2,30,40\n")
    with pytest.raises(InputError) as caught:
        compare(folder, sequences=many)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"2 results in {tmp_path} cannot be scored:"
    assert "s0.txt, line 1: expected x,y,w,h" in lines[1]
    assert "s1.txt: 1 predicted boxes for 4 frames" in lines[2]
    for each in many:
        (tmp_path / f"{each.name}.txt").write_text("1,2,3\n")
    with pytest.raises(InputError, match="  and 2 more"):
        compare(folder, sequences=many)


def test_got10k_pools_frames_and_takes_the_size_of_images(tmp_path):
    folder = write(tmp_path, {"a": 1000, "b": 0, "c": 0})
    sized = [sequence(name, 8 if name == "b" else 4, size=(100, 100)) for name in "abc"]
    (tracker,) = compare(folder, protocol="got10k", sequences=sized).trackers
    assert tracker.overall.percent["ao"] == pytest.approx(100 * 10 / 13)
    unsized = [
        Sequence(each.name, [np.zeros((100, 100, 3), np.uint8)], each.boxes) for each in sized
    ]
    (again,) = compare(folder, protocol="got10k", sequences=unsized).trackers
    assert again.overall.percent == tracker.overall.percent


@pytest.fixture
def compared(tmp_path):
    good = write(tmp_path / "good", {"a": 0, "b": 0, "c": 0})
    bad = write(tmp_path / "bad", {"a": 100, "b": 0, "c": 0})
    for name, length in (("a", 4), ("b", 8)):
        (tmp_path / "good" / f"{name}_time.txt").write_text("0.25\n" * length)
    attributes = {"dark": {"a", "b", "elsewhere"}, "never": {"elsewhere"}}
    return compare(good, bad, num_sequences=5, attributes=attributes)


def test_the_terminal_names_protocol_counts_scores_and_rates(compared):
    lines = [" ".join(line.split()) for line in report.text(compared).splitlines()]
    assert lines == [
        "set, lasot protocol, 3 of 5 sequences, 16 frames",
        "",
        "tracker success AUC precision norm. precision frames/s",
        "good 95.24 100.00 100.00 4.0",
        "bad 71.43 75.00 75.00 -",
        "",
        "lowest: a 95.2, b 95.2, c 95.2",
        "note: set has 5 sequences, of which 3 are evaluated",
    ]


def test_json_has_every_number_in_percent(compared, tmp_path):
    report.write(compared, tmp_path, {})
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["protocol"] == "lasot"
    assert (content["sequences"], content["sequences_in_set"], content["frames"]) == (3, 5, 16)
    good, bad = content["trackers"]
    assert (good["name"], good["frames_per_second"], bad["frames_per_second"]) == ("good", 4, None)
    assert good["success_auc"] == pytest.approx(100 * 20 / 21)
    assert (bad["precision"], bad["norm_precision"]) == (75, 75)
    # 1 of 4 frames of a, all of b.
    assert bad["attributes"] == {
        "dark": {
            "sequences": 2,
            "success_auc": pytest.approx(100 * 20 / 21 * 5 / 8),
            "precision": 62.5,
            "norm_precision": 62.5,
        }
    }
    assert bad["per_sequence"]["a"]["precision"] == 25
    assert bad["per_sequence"]["b"]["frames"] == 8


def test_markdown_has_tables_and_pictures(compared, tmp_path):
    report.write(compared, tmp_path, {"Success plot": "success.png"})
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert "| good | 95.24 | 100.00 | 100.00 | 4.0 |" in lines
    assert "![Success plot](success.png)" in lines
    assert "| dark | 2 | 95.2 | 59.5 |" in lines
    assert "| a | 4 | 95.2 | 23.8 |" in lines
    assert PROTOCOLS["lasot"].rules in "\n".join(lines)
