"""Batches from a small dataset on disk."""

import logging
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data import pipeline
from asymtrack_jax.data.augment import TRAINING
from asymtrack_jax.data.index import build_index, open_index
from asymtrack_jax.data.pipeline import Batches, MakeRecord, num_cores
from asymtrack_jax.data.readers import tracks
from asymtrack_jax.data.sampler import PairSampler
from asymtrack_jax.errors import InputError

CONFIG = VARIANTS["testing"]
NUM_FRAMES = 30
ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path):
    """Two tracks; grey level 50 + 5 n marks frame n of the first, colour the second."""
    for name in ("grey", "red"):
        folder = tmp_path / "tracks" / name
        folder.mkdir(parents=True)
        lines = ["file,x,y,w,h"]
        for number in range(NUM_FRAMES):
            frame = np.full((60, 80, 3), 50 + 5 * number, np.uint8)
            if name == "red":
                frame[..., :2] = 0
            cv2.imwrite(str(folder / f"{number}.png"), frame)
            lines.append(f"{number}.png,{20 + number},20,16,12")
        (folder / "boxes.csv").write_text("\n".join(lines))
    return tmp_path


def sampler_of(root):
    return PairSampler([build_index(root, tracks.parts(root))], [1.0])


def batches(sampler, num_batches=3, **options):
    reader = Batches(sampler, CONFIG, 4, num_batches, seed=5, **options)
    found = list(reader)
    reader.close()
    return found


def assert_same(ours, expected):
    assert len(ours) == len(expected)
    for first, second in zip(ours, expected, strict=True):
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)


def test_batches_are_records_in_order_whoever_makes_them(root, tmp_path):
    index = open_index(root, tracks.parts(root), tmp_path / "cache")
    sampler = PairSampler([index], [1.0])
    expected = batches(sampler)
    make_record = MakeRecord(sampler, CONFIG, TRAINING, seed=5)
    for number in range(12):
        pair, unreadable = make_record(number)
        assert (unreadable == -1).all()
        for ours, field in zip(expected[number // 4], pair, strict=True):
            np.testing.assert_array_equal(ours[number % 4], field)
    assert expected[0].template.shape == (4, 64, 64, 3)
    assert expected[0].search.shape == (4, 128, 128, 3)
    assert expected[0].search.dtype == np.uint8
    assert expected[0].boxes.dtype == np.float32
    assert_same(batches(sampler, cache_bytes=20 * 60 * 80 * 3), expected)
    assert_same(batches(sampler, num_workers=2, cache_bytes=2**20), expected)


def test_workers_are_as_many_as_cores_unless_said_otherwise(root, monkeypatch):
    assert num_cores() >= 1
    monkeypatch.setattr(pipeline, "num_cores", lambda: 3)
    monkeypatch.setattr(pipeline, "_grain_batches", lambda *arguments: (a for a in [arguments]))
    for asked, workers in ((None, 3), (2, 2), (0, 0)):
        reader = Batches(sampler_of(root), CONFIG, 4, 1, 5, num_workers=asked, cache_bytes=90)
        make_record, *_, started = next(reader._iterator)
        assert started == workers
        assert make_record.cache_bytes == 90 // max(workers, 1)


def test_a_run_goes_on_where_it_stopped_and_hosts_share_batches(root):
    sampler = sampler_of(root)
    expected = batches(sampler)
    assert_same(batches(sampler, first_batch=2), expected[2:])
    shares = [batches(sampler, shard=(host, 2)) for host in range(2)]
    joined = [
        [np.concatenate(halves) for halves in zip(*parts, strict=True)]
        for parts in zip(*shares, strict=True)
    ]
    assert_same(joined, expected)
    with pytest.raises(InputError, match="a batch of 4 cannot be divided equally among 3 hosts"):
        Batches(sampler, CONFIG, 4, 1, seed=0, shard=(0, 3))


def test_unreadable_images_are_passed_over_logged_and_counted(root, caplog):
    for number in range(10):
        (root / "tracks" / "red" / f"{number}.png").write_bytes(b"no image")
    (root / "tracks" / "red" / "10.png").unlink()
    reader = Batches(sampler_of(root), CONFIG, 8, 12, seed=0)
    with caplog.at_level(logging.WARNING):
        found = list(reader)
    assert len(found) == 12
    assert all(np.isfinite(batch.boxes).all() for batch in found)
    assert all(batch.search.max(axis=(1, 2, 3)).min() > 0 for batch in found)
    broken = {str(root / "tracks" / "red" / f"{number}.png") for number in range(11)}
    assert len(broken) - 3 < len(reader.unreadable) <= len(broken)
    assert set(reader.unreadable) <= broken
    assert len(caplog.records) == len(reader.unreadable)
    assert "red/" in caplog.text

    reader = Batches(sampler_of(root), CONFIG, 8, 12, seed=0, max_unreadable=2)
    with pytest.raises(InputError, match=r"[3-8] images cannot be read:(\n .*/red/\d+\.png){3,8}$"):
        list(reader)
    reader.close()


def test_data_that_makes_no_pair_stops_the_run(root):
    for image in root.glob("tracks/*/*.png"):
        image.unlink()
        image.write_bytes(b"")
    with pytest.raises(InputError, match=r"16 draws in a row made no pair.*(\n .*png)+"):
        next(Batches(sampler_of(root), CONFIG, 1, 1, seed=0))


def test_threads_stop_when_batches_are_closed(root):
    before = set(threading.enumerate())
    reader = Batches(sampler_of(root), CONFIG, 4, 1000, seed=0)
    next(reader)
    started = set(threading.enumerate()) - before
    assert started
    reader.close()
    for thread in started:
        thread.join(timeout=30)
        assert not thread.is_alive()


_RUN = """
import multiprocessing, os, signal, sys
from pathlib import Path
from tests.data.test_pipeline import CONFIG, Batches, sampler_of

reader = Batches(sampler_of(Path(sys.argv[1])), CONFIG, 4, 20, seed=0, num_workers=1)
next(reader)
(worker,) = multiprocessing.active_children()
for number in (signal.SIGINT, signal.SIGTERM):
    os.kill(worker.pid, number)
print(1 + sum(1 for _ in reader), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_outlives_signals_but_not_its_run(root):
    """The output ends when both processes have ended, else this times out."""
    ran = subprocess.run(
        [sys.executable, "-c", _RUN, root], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ran.stdout == "20\n", ran.stderr
