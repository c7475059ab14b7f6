import base64
import dataclasses
import json
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from asymtrack_jax.evaluation import page
from asymtrack_jax.evaluation.published import Published
from tests.evaluation.still import compare, make_place


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path)


def written(place, **changes):
    """The page's text and the data in it."""
    page.write(compare(place, **changes), place[1], place[0] / "pictures", {})
    text = (place[0] / "pictures" / page.NAME).read_text()
    data = re.search(r'<script type="application/json" id="content">(.*?)</script>', text, re.S)
    assert data
    return text, json.loads(data[1])


def test_the_page_needs_nothing_else(place):
    picture = place[0] / "pictures" / "success.png"
    cv2.imwrite(str(picture), np.zeros((4, 4, 3), np.uint8))
    pictures = {"Success plot": picture.name}
    page.write(compare(place), place[1], picture.parent, pictures)
    text = (picture.parent / page.NAME).read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|src=|href=", text)
    assert base64.b64encode(picture.read_bytes()).decode() in text


def test_sequences_can_be_played_with_all_boxes(place):
    _, content = written(place, labels=["one", "two"])
    a, b = content["strips"]
    assert (a["name"], a["length"], [each["index"] for each in a["frames"]]) == (
        "a",
        12,
        [*range(12)],
    )
    first, last = a["frames"][0], a["frames"][-1]
    assert first["boxes"] == [[5.5, 6, 10, 12]] * 3  # the annotation, as protocols have it
    assert last["boxes"] == [[16.5, 6, 10, 12], [5, 6, 10, 12], [5, 6, 10, 12]]
    assert (a["overlaps"][0][0], a["overlaps"][1][-1]) == (1, 0)
    image = base64.b64decode(last["image"].partition(",")[2])
    frame = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    assert frame is not None
    assert frame.shape[:2] == (30, 40) == tuple(last["size"][::-1])
    assert abs(int(frame[0, 0, 0]) - 11) < 2
    assert b["length"] == 3


def test_absent_targets_are_null_and_names_cannot_leave_the_data(place):
    place[1][0].boxes[4] = np.nan
    text, content = written(place, labels=["</script><b>&"])
    assert content["report"]["trackers"][0]["name"] == "</script><b>&"
    assert "</script><b>" not in text
    assert content["strips"][0]["frames"][4]["boxes"][0] == [None] * 4
    assert content["strips"][0]["overlaps"][0][4] is None


def test_frames_are_few_small_and_within_a_budget(place, monkeypatch):
    monkeypatch.setattr(page, "_FRAMES", 3)
    monkeypatch.setattr(page, "_WIDTH", 20)
    _, content = written(place)
    assert [each["index"] for each in content["strips"][0]["frames"]] == [0, 6, 11]
    assert content["strips"][0]["frames"][0]["size"] == [20, 15]
    assert content["strips"][0]["frames"][0]["boxes"][0] == [2.8, 3, 5, 6]
    monkeypatch.setattr(page, "_BUDGET", 3000)
    assert [each["name"] for each in written(place)[1]["strips"]] == ["a"]
    monkeypatch.setattr(page, "_FIRST", 0)
    monkeypatch.setattr(page, "_LAST", 1)
    assert [each["name"] for each in written(place)[1]["strips"]] == ["b"]


def test_without_images_there_are_tables_alone(place):
    (place[0] / "data" / "a" / "img" / "3.png").unlink()
    assert [each["name"] for each in written(place)[1]["strips"]] == ["b"]


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVE = """<script>
const first = (id) => document.querySelector(id + " tbody td").textContent;
const click = (id, column) => document.querySelectorAll(id + " th")[column].click();
const told = [first("#sequences")];
click("#sequences", 0); click("#sequences", 0); told.push(first("#sequences"));
click("#overall", 1); told.push(first("#overall"));
click("#overall", 2); click("#overall", 2); told.push(first("#overall"));
document.querySelectorAll("tr.playable")[1].click();
told.push(document.getElementById("chooser").value, document.getElementById("play").textContent);
setTimeout(() => {
  told.push(document.getElementById("caption").textContent !== "frame 0 of 0 to 11");
  document.title = JSON.stringify(told);
}, 300);
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_sorts_tables_and_plays_sequences(place):
    compared = compare(place, labels=["one", "two"])
    references = [Published("far ahead", {"success_auc": 99.0}, "a paper")]
    compared = dataclasses.replace(compared, published=references)
    page.write(compared, place[1], place[0] / "pictures", {})
    path = place[0] / "pictures" / page.NAME
    path.write_text(path.read_text().replace("</body>", DRIVE))
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=3000", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title
    # What has no number comes last, whichever way a column is sorted.
    assert json.loads(title[1]) == ["a", "b", "far ahead (published)", "one", "a", "Pause", True]
