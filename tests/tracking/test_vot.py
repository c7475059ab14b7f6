"""The protocol's own client talks to the server, over a socket instead of another process."""

import select
import socket
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import trax
from trax.client import Client

from asymtrack_jax import Tracker
from asymtrack_jax.cli.main import EXTRAS
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data.sequences import read_frame
from asymtrack_jax.errors import InputError
from asymtrack_jax.tracking.vot import serve

BBOX, OTHER = (40.0, 30.0, 32.0, 24.0), (10.0, 12.0, 20.0, 22.0)


class FakeModel:
    """Nothing to compile; what it finds depends on the template and on the search crop."""

    config = VARIANTS["testing"]

    def init_template(self, template: np.ndarray) -> np.ndarray:
        return template.mean((1, 2, 3)) / 256

    def step(self, modulation: np.ndarray, search: np.ndarray) -> SimpleNamespace:
        seen = search.mean((1, 2, 3)) / 256
        boxes = [0.3 + 0.4 * modulation, 0.3 + 0.4 * seen, 0.25 + 0 * seen, 0.2 + 0 * seen]
        return SimpleNamespace(boxes=np.stack(boxes, -1), scores=modulation * seen)


MODEL: Any = FakeModel()


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("with space")
    noise = np.random.default_rng(0).integers(0, 256, (6, 15, 20, 3), np.uint8)
    paths = [folder / f"{i}.png" for i in range(len(noise))]
    for path, pixels in zip(paths, noise, strict=True):
        cv2.imwrite(str(path), cv2.resize(pixels, (160, 120)))
    return paths


@pytest.fixture
def session(monkeypatch) -> Iterator[tuple[Client, Future]]:
    """A client, and what becomes of the server."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as executor:
        monkeypatch.setenv("TRAX_SOCKET", str(listener.getsockname()[1]))
        served = executor.submit(serve, MODEL)
        assert select.select([listener], [], [], 20)[0], served  # `Client` might not wait for it
        client = Client(stream=listener.fileno(), timeout=10, log=lambda _: None)  # pyright: ignore[reportArgumentType]
        yield client, served
        client.quit()


def image(path: Path) -> dict:
    return {"color": trax.FileImage.create(str(path))}


def frame(client: Client, path: Path, objects: Sequence = ()) -> tuple:
    return client.frame(image(path), {}, objects)


def given(*bboxes: tuple) -> list:
    return [(trax.Rectangle.create(*bbox), {}) for bbox in bboxes]


def assert_found(reply: tuple, expected: list) -> None:
    """That a reply holds these boxes and scores."""
    objects, _ = reply
    found = [(*region.bounds(), float(properties["confidence"])) for region, properties in objects]
    np.testing.assert_allclose(found, [(*bbox, score) for bbox, score in expected], atol=1e-3)


def test_answers_what_trackers_find(session, paths):
    client, served = session
    trackers = [Tracker(MODEL), Tracker(MODEL)]
    trackers[0].init(read_frame(paths[0]), BBOX)
    trackers[1].init(read_frame(paths[2]), OTHER)

    assert_found(client.initialize(image(paths[0]), given(BBOX), {}), [(BBOX, 1)])
    first = trackers[0].update(read_frame(paths[1]))
    assert_found(frame(client, paths[1]), [first])
    first = trackers[0].update(read_frame(paths[2]))
    assert_found(frame(client, paths[2], given(OTHER)), [first, (OTHER, 1)])
    both = [tracker.update(read_frame(paths[3])) for tracker in trackers]
    assert_found(frame(client, paths[3]), both)
    client.quit()
    assert served.result() is None


def test_all_targets_share_each_step(session, paths, monkeypatch):
    client, _ = session
    batches, step = [], FakeModel.step

    def count(self: FakeModel, modulation: np.ndarray, search: np.ndarray) -> SimpleNamespace:
        batches.append(len(search))
        return step(self, modulation, search)

    monkeypatch.setattr(FakeModel, "step", count)
    client.initialize(image(paths[0]), given(BBOX, OTHER), {})
    frame(client, paths[1])
    assert batches == [2]


def test_initialising_again_forgets_earlier_targets(session, paths):
    client, _ = session
    client.initialize(image(paths[0]), given(BBOX, OTHER), {})
    frame(client, paths[1])
    assert_found(client.initialize(image(paths[2]), given(OTHER), {}), [(OTHER, 1)])
    fresh = Tracker(MODEL)
    fresh.init(read_frame(paths[2]), OTHER)
    assert_found(frame(client, paths[3]), [fresh.update(read_frame(paths[3]))])


def test_polygons_and_masks_become_their_bounding_boxes(session, paths):
    client, _ = session
    polygon = trax.Polygon.create([(20.0, 12.5), (60.0, 10.0), (45.5, 50.0)])
    pixels = np.zeros((40, 50), np.uint8)
    pixels[5:20, 8] = pixels[12, 8:33] = 1
    mask = trax.Mask.create(pixels, x=30, y=20)
    expected = [((20, 10, 40, 40), 1), ((38, 25, 25, 15), 1)]
    assert_found(client.initialize(image(paths[0]), [(polygon, {}), (mask, {})], {}), expected)


@pytest.mark.parametrize(
    ("name", "bbox", "reason"),
    [("0.png", (5, 5, 0, 9), "width and height must be at least 0.1"), ("9.png", BBOX, "9.png")],
)
def test_the_client_is_told_what_was_bad(session, paths, name, bbox, reason):
    client, served = session
    with pytest.raises(trax.TraxException, match=reason):
        client.initialize(image(paths[0].with_name(name)), given(bbox), {})
    with pytest.raises(InputError, match=reason):
        served.result()


def test_a_client_that_goes_away_is_no_defect(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as executor:
        monkeypatch.setenv("TRAX_SOCKET", str(listener.getsockname()[1]))
        served = executor.submit(serve, MODEL)
        listener.accept()[0].close()
        with pytest.raises(InputError, match="TraX session failed"):
            served.result()


@pytest.mark.parametrize("found", [None, socket], ids=["nothing", "another package"])
def test_says_what_to_install(monkeypatch, found):
    monkeypatch.setitem(sys.modules, "trax", found)
    with pytest.raises(ModuleNotFoundError, match="TraX is not installed") as caught:
        serve(MODEL)
    assert EXTRAS[caught.value.name or ""] == "vot"


def test_compiles_before_the_session_begins():
    class Broken(FakeModel):
        def step(self, modulation: np.ndarray, search: np.ndarray) -> SimpleNamespace:
            raise ZeroDivisionError

    model: Any = Broken()
    with pytest.raises(ZeroDivisionError):
        serve(model)
