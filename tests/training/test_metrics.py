import json
import logging
import struct
import sys
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

from asymtrack_jax.training.metrics import MetricsWriter, log_to, read_scalars


def lines(workdir: Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def events(workdir: Path) -> list[Event]:
    """TensorBoard's events: each framed by its length, that one's checksum, and its own."""
    found = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("Q", content, at)
            found.append(Event.FromString(content[at + 12 : at + 12 + length]))
            at += length + 16
    return found


def test_numbers_are_on_disk_at_once(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        writer.scalars(50, {"train/total": np.float32(0.5), "finite": np.bool_(True)})
        writer.scalars(100, {"train/total": float("nan")})
        (first, second), written = lines(tmp_path), events(tmp_path)
    assert set(first) == {"step", "time", "train/total", "finite"}
    assert (first["step"], first["train/total"], first["finite"]) == (50, 0.5, 1.0)
    assert second["train/total"] is None
    values = {(e.step, v.tag): v.simple_value for e in written for v in e.summary.value}
    assert values[50, "train/total"] == 0.5
    assert np.isnan(values[100, "train/total"])


@pytest.mark.parametrize("torn", ["", '{"step": 140, "ti', '{"step": 140, "time": 1.0}'])
def test_going_on_takes_back_later_steps(tmp_path, torn: str):
    with MetricsWriter(tmp_path) as writer:
        for step in (50, 100, 150):
            writer.scalars(step, {"loss": 1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(torn)  # killed while it wrote
    with MetricsWriter(tmp_path, 100) as writer:
        writer.scalars(150, {"loss": 2})
    assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [
        (50, 1),
        (100, 1),
        (150, 2),
    ]
    assert read_scalars(tmp_path, 100)["loss"] == 1
    # TensorBoard drops what it read of later steps at a START.
    starts = [event.step for event in events(tmp_path) if event.session_log.status]
    assert starts == [1, 101]


def test_beginning_again_takes_back_all(tmp_path):
    for loss in (1, 2):
        with MetricsWriter(tmp_path) as writer:
            writer.scalars(0, {"loss": loss})
    assert [line["loss"] for line in lines(tmp_path)] == [2]
    assert read_scalars(tmp_path, 50) == {}


def test_messages_are_printed_once_and_kept(tmp_path, capsys, monkeypatch):
    root = logging.StreamHandler(sys.stderr)  # as of a library that configures logging
    monkeypatch.setattr(logging.root, "handlers", [*logging.root.handlers, root])
    log = logging.getLogger("asymtrack_jax.training.loop")

    @log_to(tmp_path / "log.txt")
    def run(word: str) -> None:
        log.debug("loss")
        log.info("%s step", word)
        raise ValueError("wrong")

    for word in ("first", "second"):  # a resumed run
        with pytest.raises(ValueError, match="wrong"):
            run(word)
    log.info("afterwards")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("first step\nsecond step\n", "")
    kept = (tmp_path / "log.txt").read_text().splitlines()
    assert [line[20:] for line in kept] == [
        *("loss", "first step", "error: wrong"),
        *("loss", "second step", "error: wrong"),
    ]


def test_pictures(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    with MetricsWriter(tmp_path) as writer:
        writer.image(500, "pairs", image)
        *_, event = events(tmp_path)
    png = (tmp_path / "pictures" / "pairs_00000500.png").read_bytes()
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    np.testing.assert_array_equal(decoded[..., ::-1], image)
    (value,) = event.summary.value
    assert (event.step, value.tag, value.image.encoded_image_string) == (500, "pairs", png)


def test_only_the_first_process_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with MetricsWriter(tmp_path) as writer:
        writer.scalars(1, {"loss": 1})
        writer.image(1, "pairs", np.zeros((2, 2, 3), np.uint8))
    with log_to(tmp_path / "log.txt"):
        logging.getLogger("asymtrack_jax").info("step")
    assert not capsys.readouterr().out
    assert not list(tmp_path.iterdir())
