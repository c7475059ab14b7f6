import json

import pytest

from asymtrack_jax.evaluation import tables
from asymtrack_jax.evaluation.protocols import PROTOCOLS
from tests.evaluation.test_report import compare, write


@pytest.fixture
def compared(tmp_path):
    good = write(tmp_path / "good", {"a": 0, "b": 0, "c": 0})
    bad = write(tmp_path / "bad", {"a": 100, "b": 0, "c": 0})
    for name, length in (("a", 4), ("b", 8)):
        (tmp_path / "good" / f"{name}_time.txt").write_text("0.25\n" * length)
    attributes = {"dark": {"a", "b", "elsewhere"}, "never": {"elsewhere"}}
    return compare(good, bad, num_sequences=5, attributes=attributes)


def test_the_terminal_names_protocol_counts_scores_and_rates(compared):
    lines = [" ".join(line.split()) for line in tables.text(compared).splitlines()]
    assert lines == [
        "set, lasot protocol, 3 of 5 sequences, 16 frames",
        "",
        "tracker success AUC precision norm. precision difference [95 %] frames/s",
        "good 95.24 100.00 100.00 - 4.0",
        "bad 71.43 75.00 75.00 -23.81 [-71.43, 0.00] -",
        "",
        "lowest: a 95.2, b 95.2, c 95.2",
        "note: set has 5 sequences, of which 3 are evaluated",
        "note: difference is that of success AUC to the first tracker; paired bootstrap over "
        "sequences, percentile, 10,000 resamples, seed 0",
    ]


def test_json_has_every_number_in_percent(compared, tmp_path):
    tables.write(compared, tmp_path, {})
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["protocol"] == "lasot"
    assert (content["sequences"], content["sequences_in_set"], content["frames"]) == (3, 5, 16)
    good, bad = content["trackers"]
    assert (good["name"], good["frames_per_second"], bad["frames_per_second"]) == ("good", 4, None)
    assert good["success_auc"] == pytest.approx(100 * 20 / 21)
    assert good["difference_interval"] is None
    assert bad["difference_interval"] == [pytest.approx(-71.43, abs=0.01), 0]
    assert list(bad["per_sequence"]) == ["a", "b", "c"]
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
    tables.write(compared, tmp_path, {"Success plot": "success.png"})
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert "| good | 95.24 | 100.00 | 100.00 | - | 4.0 |" in lines
    assert "![Success plot](success.png)" in lines
    assert "| dark | 2 | 95.2 | 59.5 |" in lines
    assert "| a | 4 | 95.2 | 23.8 | 71.4 |" in lines
    assert PROTOCOLS["lasot"].rules in "\n".join(lines)
