"""Records made from a small data set, and what is refused."""

import json
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data import records
from asymtrack_jax.data.datasets import open_dataset, read_index
from asymtrack_jax.data.pipeline import Batches
from asymtrack_jax.data.records import RecordSource, main, open_records, prepare
from asymtrack_jax.data.sampler import PairSampler
from asymtrack_jax.data.sequences import Source
from asymtrack_jax.errors import InputError

NUM_FRAMES = 25


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two tracks, one of JPEGs and one of grey PNGs, and three stills of two photographs."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name, suffix, shape in (("a", "jpg", (40, 60, 3)), ("b", "png", (50, 30))):
        folder = root / "tracks" / name
        folder.mkdir(parents=True)
        lines = ["file,x,y,w,h"]
        for number in range(NUM_FRAMES):
            cv2.imwrite(str(folder / f"{number}.{suffix}"), rng.integers(0, 256, shape, np.uint8))
            lines.append(f"{number}.{suffix},{number / 3},8,9,{0 if number == 4 else 10}")
        (folder / "boxes.csv").write_text("\n".join(lines))
    (root / "stills").mkdir()
    for name in ("x", "y"):
        cv2.imwrite(
            str(root / "stills" / f"{name}.jpg"), rng.integers(0, 256, (20, 30, 3), np.uint8)
        )
    stills = [
        {"file": "y.jpg", "boxes": [[1, 2, 3, 4]]},
        {"file": "x.jpg", "boxes": [[1, 2, 5, 4]]},
        {"file": "y.jpg", "boxes": [[5, 6, 7, 8]]},
    ]
    (root / "stills" / "boxes.json").write_text(json.dumps(stills))
    return root


@pytest.fixture(scope="module")
def prepared(root, tmp_path_factory):
    output = tmp_path_factory.mktemp("output") / "tracks"
    prepare(read_index("tracks", root), "tracks", output)
    return output


def assert_same_source(ours, expected):
    for column in ("offsets", "boxes", "visible"):
        np.testing.assert_array_equal(getattr(ours, column), getattr(expected, column))
    for row in range(len(expected.boxes)):
        np.testing.assert_array_equal(ours.read(row), expected.read(row))


def test_records_are_the_files_byte_for_byte(root, prepared):
    source, files = open_dataset("tracks", prepared), read_index("tracks", root)
    assert isinstance(source, RecordSource)
    assert isinstance(source, Source)
    assert_same_source(source, files)
    assert not source.visible.all()
    for row in (0, NUM_FRAMES + 3):
        record = source._images[int(source.records[row])]["image"]
        assert record == files.frame_path(row).read_bytes()
    assert source.frame_name(3) == f"{prepared}, record 3 ({files.frame_name(3)})"
    assert source.name == str(prepared)


def test_shards_are_read_as_one(root, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_SHARD", 20)
    files = read_index("tracks", root)
    prepare(files, "tracks", tmp_path / "out")
    assert len(list((tmp_path / "out" / "frames").glob("*array_record*"))) == 3
    assert_same_source(open_records(tmp_path / "out", "tracks"), files)


def test_stills_of_one_photograph_share_a_record(root, tmp_path):
    files = read_index("stills", root)
    prepare(files, "stills", tmp_path / "out")
    source = open_records(tmp_path / "out", "stills")
    np.testing.assert_array_equal(source.records, [0, 1, 0])
    assert_same_source(source, files)


def test_batches_of_records_are_those_of_files(root, prepared):
    def sampler(source):
        return PairSampler([source], [1.0])

    config = VARIANTS["testing"]
    readers = (
        Batches(sampler(read_index("tracks", root)), config, 4, 2, 1, loader="threads"),
        Batches(sampler(open_dataset("tracks", prepared)), config, 4, 2, 1, num_workers=1),
    )
    found = [list(reader) for reader in readers]
    readers[1].close()
    for ours, expected in zip(*found, strict=True):
        for a, b in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_records_travel_by_name(prepared):
    source = open_dataset("tracks", prepared)
    frame = source.read(7)
    pickled = pickle.dumps(source)
    assert len(pickled) < 500
    np.testing.assert_array_equal(pickle.loads(pickled).read(7), frame)


def test_another_data_set_is_refused(prepared):
    with pytest.raises(InputError, match=r"holds records of 'tracks', not of 'lasot': name the"):
        open_dataset("lasot", prepared)


def test_an_incomplete_copy_and_another_version_are_refused(prepared, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in prepared.rglob("*"):
        if file.is_file():
            target = copy / file.relative_to(prepared)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
    shard = next((copy / "frames").glob("*array_record*"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"array_record-00000 is missing or incomplete: copy it"):
        open_records(copy, "tracks")
    shard.unlink()
    with pytest.raises(InputError, match=r"array_record-00000 is missing or incomplete: copy it"):
        open_records(copy, "tracks")
    marker = copy / records.MARKER
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 0}))
    with pytest.raises(InputError, match="was prepared by another version"):
        open_records(copy, "tracks")


def test_missing_images_are_named_before_anything_is_written(root, tmp_path):
    folder = tmp_path / "tracks" / "a"
    folder.mkdir(parents=True)
    (folder / "boxes.csv").write_text("file,x,y,w,h\n0.jpg,1,2,3,4\n1.jpg,1,2,3,4\n")
    (folder / "0.jpg").write_bytes(b"damaged, but there")
    index = read_index("tracks", tmp_path)
    with pytest.raises(InputError, match=r"1 of 2 images in .* are missing:\n  .*a/1\.jpg$"):
        prepare(index, "tracks", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (folder / "1.jpg").write_bytes((root / "tracks" / "a" / "1.jpg").read_bytes())
    prepare(index, "tracks", tmp_path / "out")
    source = open_records(tmp_path / "out", "tracks")
    with pytest.raises(InputError, match=r"frame .*out, record 0 \(.*a/0\.jpg\) is not an image"):
        source.read(0)
    np.testing.assert_array_equal(source.read(1), index.read(1))


def test_an_interrupted_preparation_is_not_there_and_starts_anew(root, tmp_path, caplog):
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from asymtrack_jax.data import records\n"
        "read = Path.read_bytes\n"
        "def dying(path):\n"
        "    if path.name == '7.png':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return read(path)\n"
        "Path.read_bytes = dying\n"
        "records.main(sys.argv[1:])\n"
    )
    command = ["prepare", "--dataset", "tracks", "--data_dir", str(root), "--output"]
    output = tmp_path / "out"
    killed = subprocess.run([sys.executable, "-c", code, *command, output], capture_output=True)
    assert killed.returncode == -9, killed.stderr
    assert [left.name for left in tmp_path.iterdir()] == [".out.partial"]
    assert list((tmp_path / ".out.partial").iterdir())
    with pytest.raises(InputError, match="no folder"):
        open_dataset("tracks", output)
    main([*command, str(output)])
    assert "starting anew" in caplog.text
    assert [left.name for left in tmp_path.iterdir()] == ["out"]
    assert_same_source(open_dataset("tracks", output), read_index("tracks", root))
    with pytest.raises(InputError, match="is there already"):
        main([*command, str(output)])
