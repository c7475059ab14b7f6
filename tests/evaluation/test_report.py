import numpy as np
import pytest

from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import report, tables
from asymtrack_jax.evaluation.benchmarks import BENCHMARKS
from asymtrack_jax.evaluation.bootstrap import difference_interval
from asymtrack_jax.evaluation.protocols import PROTOCOLS
from asymtrack_jax.evaluation.published import published
from asymtrack_jax.evaluation.results import ResultFolder

BOX = [20.0, 10, 30, 40]


def sequence(name, length=4, **extra):
    return Sequence(name, [], np.tile(BOX, (length, 1)), **extra)


SEQUENCES = [sequence("a"), sequence("b", 8), sequence("c")]


SIZED = [sequence(each.name, len(each.boxes), size=(100, 100)) for each in SEQUENCES]


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
    assert all(note in tables.text(compared) for note in compared.notes)
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
    (tracker,) = compare(folder, protocol="got10k", sequences=SIZED).trackers
    assert tracker.overall.percent["ao"] == pytest.approx(100 * 10 / 13)
    unsized = [
        Sequence(each.name, [np.zeros((100, 100, 3), np.uint8)], each.boxes) for each in SIZED
    ]
    (again,) = compare(folder, protocol="got10k", sequences=unsized).trackers
    assert again.overall.percent == tracker.overall.percent


def test_the_interval_of_a_difference_covers_it_and_needs_two_sequences(tmp_path):
    good = write(tmp_path / "good", {"a": 0, "b": 0, "c": 0})
    bad = write(tmp_path / "bad", {"a": 100, "b": 0, "c": 0})
    best, other = compare(bad, good).trackers
    assert best.interval is None
    # One of three sequences differs, by 75/100 of 95.24: from all draws of it to none.
    assert other.interval == (pytest.approx(-71.43, abs=0.01), 0)
    assert compare(bad, good, sequences=SEQUENCES[:1]).trackers[1].interval is None


def test_the_interval_weighs_sequences():
    differs, weights = np.array([0.0, 0, 0, 0, 8]), np.array([1.0, 1, 1, 1, 4])
    # The last one is drawn from 0 to 3 times out of 5 in 95 % of the draws.
    expected = (0, pytest.approx(8 * 3 * 4 / (3 * 4 + 2)))
    assert difference_interval(differs, np.zeros(5), weights) == expected


def test_tables_begin_with_what_tells_trackers_apart(tmp_path):
    good = write(tmp_path / "good", {"a": 10, "b": 0, "c": 0})
    bad = write(tmp_path / "bad", {"a": 12, "b": 0, "c": 100})
    assert report.ordered(compare(good)) == ["a", "b", "c"]
    assert report.ordered(compare(good, bad)) == ["c", "a", "b"]


def test_tables_end_with_what_counts_no_frame(tmp_path):
    unseen = sequence("unseen", visible=np.zeros(4, bool), size=(100, 100))
    alike = dict.fromkeys(["unseen", "a", "b", "c"], 5)
    folders = [write(tmp_path / name, alike) for name in ("x", "y")]
    compared = compare(*folders, protocol="got10k", sequences=[unseen, *SIZED])
    assert report.ordered(compared) == ["a", "b", "c", "unseen"]


def test_published_numbers_stand_beside_ones_own(tmp_path):
    folder = write(tmp_path, {"a": 0, "b": 0, "c": 0})
    lasot = report.compare("lasot", PROTOCOLS["lasot"], [folder], SEQUENCES, num_sequences=280)
    rows = {row.tracker: row for row in lasot.published}
    assert rows["AsymTrack-T"].percent == {
        "success_auc": 60.8,
        "norm_precision": 68.7,
        "precision": 61.2,
    }
    assert rows["HiT-Base"].percent == {"success_auc": 64.6}
    lines = [" ".join(line.split()) for line in tables.text(lasot).splitlines()]
    assert "AsymTrack-T (published) 60.80 61.20 68.70 -" in lines
    assert "HiT-Base (published) 64.60 - - -" in lines
    assert "not measured here (AsymTrack-T, AsymTrack-S, AsymTrack-B: arXiv" in lines[-1]
    assert not report.compare("lasot", PROTOCOLS["got10k"], [folder], SIZED).published
    assert not compare(folder).published


def test_every_published_row_has_a_source_and_a_benchmark():
    for name in BENCHMARKS:
        assert all(row.source and row.percent for row in published(name))
    assert "GOT-10k" not in tables.published_text("got10k_test")
    assert "AsymTrack-B" in tables.published_text("got10k_test")
    assert not tables.published_text("folder")
