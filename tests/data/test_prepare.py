"""Records of whole frames and of crops, made from small datasets."""

import dataclasses
import json
import pickle
import shutil
import subprocess
import sys
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from asymtrack_jax.cli.prepare import main
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data import prepare, records
from asymtrack_jax.data.datasets import open_dataset, read_index
from asymtrack_jax.data.pipeline import Batches
from asymtrack_jax.data.prepare import (
    CropOptions,
    crop_frame,
    prepare_crops,
    prepare_frames,
)
from asymtrack_jax.data.records import RecordSource, open_records
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
    prepare_frames(read_index("tracks", root), "tracks", output)
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
    assert source.frame_name(3) == f"{prepared}, record 3 ({files.frame_name(3)})"
    assert source.name == str(prepared)


def test_tfds_opens_them(root, prepared):
    files = read_index("tracks", root)
    builder = tfds.builder_from_directory(prepared / "frames")
    skip = tfds.decode.SkipDecoding()
    images: Any = builder.as_data_source("frames", decoders={"image": skip})  # pyright: ignore[reportCallIssue]
    assert len(images) == 2 * NUM_FRAMES
    for row in (0, NUM_FRAMES + 3):
        assert images[row]["image"] == files.frame_path(row).read_bytes()


def test_they_are_read_without_tfds(prepared):
    code = (
        "import sys; sys.modules['tensorflow_datasets'] = None\n"
        "from pathlib import Path\n"
        "from asymtrack_jax.data.records import open_records\n"
        "print(open_records(Path(sys.argv[1])).read(30).shape)"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(prepared)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == "(50, 30, 3)\n"


def test_shards_are_read_as_one(root, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_SHARD", 20)
    files = read_index("tracks", root)
    prepare_frames(files, "tracks", tmp_path / "out")
    assert len(list((tmp_path / "out" / "frames").glob("*array_record*"))) == 3
    assert_same_source(open_records(tmp_path / "out", "tracks"), files)


def test_stills_of_one_photograph_share_a_record(root, tmp_path):
    files = read_index("stills", root)
    prepare_frames(files, "stills", tmp_path / "out")
    source = open_records(tmp_path / "out", "stills")
    np.testing.assert_array_equal(source.records, [0, 1, 0])
    assert_same_source(source, files)


def test_batches_of_records_are_those_of_files(root, prepared):
    def sampler(source):
        return PairSampler([source], [1.0])

    config = VARIANTS["testing"]
    readers = (
        Batches(sampler(read_index("tracks", root)), config, 4, 2, 1),
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
    copy = shutil.copytree(prepared, tmp_path / "copy")
    shard = next((copy / "frames").glob("*array_record*"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"array_record-00000 is missing or incomplete: copy it"):
        open_records(copy, "tracks")
    shard.unlink()
    with pytest.raises(InputError, match=r"array_record-00000 is missing or incomplete: copy it"):
        open_records(copy, "tracks")
    marker = copy / records.METADATA
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 0}))
    with pytest.raises(InputError, match="was prepared by another version"):
        open_records(copy, "tracks")
    for content in ("", "[]", "{}", '{"format": 1, "dataset": "tracks", "files": 3}'):
        marker.write_text(content)
        with pytest.raises(InputError, match=r"copy is not a prepared dataset \(records\.json"):
            open_records(copy)


@pytest.mark.parametrize("file", ["records.npy", "index/boxes.npy", "index/root.json"])
def test_annotations_that_are_incomplete_or_missing_are_refused(prepared, tmp_path, file):
    copy = shutil.copytree(prepared, tmp_path / "copy")
    content = (copy / file).read_bytes()
    for part in (content[:-1], b""):
        (copy / file).write_bytes(part)
        with pytest.raises(InputError, match=r"copy has annotations that are missing or incomp"):
            open_records(copy)
    (copy / file).unlink()
    with pytest.raises(InputError, match=r"copy has annotations that are missing or incomp"):
        open_records(copy)


def test_missing_images_are_named_before_anything_is_written(root, tmp_path):
    folder = tmp_path / "tracks" / "a"
    folder.mkdir(parents=True)
    (folder / "boxes.csv").write_text("file,x,y,w,h\n0.jpg,1,2,3,4\n1.jpg,1,2,3,4\n")
    (folder / "0.jpg").write_bytes(b"damaged, but there")
    index = read_index("tracks", tmp_path)
    with pytest.raises(InputError, match=r"1 of 2 images in .* are missing:\n  .*a/1\.jpg$"):
        prepare_frames(index, "tracks", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (folder / "1.jpg").write_bytes((root / "tracks" / "a" / "1.jpg").read_bytes())
    prepare_frames(index, "tracks", tmp_path / "out")
    source = open_records(tmp_path / "out", "tracks")
    with pytest.raises(InputError, match=r"frame .*out, record 0 \(.*a/0\.jpg\) is not an image"):
        source.read(0)
    np.testing.assert_array_equal(source.read(1), index.read(1))


def test_the_command_prepares_whole_frames(root, tmp_path, capsys):
    command = ["--dataset", "tracks", "--data_dir", str(root), "--output", str(tmp_path / "out")]
    main(command)
    assert "2 sequences, 50 frames" in capsys.readouterr().out
    assert_same_source(open_dataset("tracks", tmp_path / "out"), read_index("tracks", root))
    with pytest.raises(InputError, match="exists already"):
        main(command)


SIZES = {"small": (20, 12), "large": (90, 160), "wide": (120, 30)}  # of the targets: w, h


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """Three tracks of a red target on grey, hidden in every fifth frame; it enters the frame."""
    root = tmp_path_factory.mktemp("moving")
    for name, (w, h) in SIZES.items():
        folder = root / "tracks" / name
        folder.mkdir(parents=True)
        lines = ["file,x,y,w,h"]
        for number in range(60):
            x, y = -w // 2 + 4 * number, 40 + number
            shown = number % 5 != 4
            frame = np.full((240, 320, 3), 90 * shown, np.uint8)
            frame[y : y + h * shown, max(x, 0) : x + w] = 0, 0, 255
            cv2.imwrite(str(folder / f"{number:03}.jpg"), frame)
            lines.append(f"{number:03}.jpg,{x},{y},{w},{h * shown}")
        (folder / "boxes.csv").write_text("\n".join(lines))
    (root / "stills").mkdir()
    frame = np.full((240, 320, 3), 90, np.uint8)
    frame[100:150, 200:240] = 0, 0, 255
    cv2.imwrite(str(root / "stills" / "1.jpg"), frame)
    stills = [{"file": "1.jpg", "boxes": [[200, 100, 40, 50], [100, 100, 400, 0]]}]
    (root / "stills" / "boxes.json").write_text(json.dumps(stills))
    return root


@pytest.fixture(scope="module")
def cropped(moving, tmp_path_factory):
    output = tmp_path_factory.mktemp("cropped") / "tracks"
    options = CropOptions(frames_per_sequence=24, reach=4.25, target_size=40.0)
    prepare_crops(read_index("tracks", moving), "tracks", output, options, num_threads=2)
    return open_dataset("tracks", output)


def check_box(frame, box):
    """The box is where it is red, as far as chroma at half the resolution says."""
    rows, columns = np.nonzero((frame[..., 0] > 150) & (frame[..., 1] < 60))
    low, high = np.maximum(box[:2], 0), np.minimum(box[:2] + box[2:], frame.shape[1::-1])
    np.testing.assert_allclose([columns.min(), rows.min()], low, atol=1.5)
    np.testing.assert_allclose([columns.max() + 1, rows.max() + 1], high, atol=1.5)


def test_visible_frames_are_cropped_evenly_and_boxes_are_right(cropped):
    assert isinstance(cropped, RecordSource)
    np.testing.assert_array_equal(cropped.offsets, [0, 24, 48, 72])
    assert cropped.visible.all()
    assert cropped.boxes.dtype == np.float32
    for sequence, name in enumerate(sorted(SIZES)):
        w, h = SIZES[name]
        numbers = []
        for row in range(*cropped.offsets[sequence : sequence + 2]):
            frame, box = cropped.read(row), cropped.boxes[row]
            check_box(frame, box)
            size = np.sqrt(box[2:].prod())
            assert size == pytest.approx(min(np.sqrt(w * h), 40), rel=0.02)
            assert box[2] / box[3] == pytest.approx(w / h, rel=0.05)
            assert max(frame.shape) <= 2 * 4.25 * size + 3
            assert f"record {row} (" in cropped.frame_name(row)
            assert f"/{name}/" in cropped.frame_name(row)
            numbers.append(int(cropped.frame_name(row)[-8:-5]))
        assert not any(number % 5 == 4 for number in numbers)
        assert (numbers[0], numbers[-1]) == (0, 58)
        assert set(np.diff(numbers)) <= {1, 2, 3, 4}


def test_crops_reach_as_far_as_asked_and_end_at_the_frame():
    frame = np.zeros((300, 400, 3), np.uint8)
    box = np.array([180.0, 140.0, 40.0, 10.0])  # 20 pixels a side, around 200, 145

    def crop(reach, target_size):
        found = crop_frame(frame, box, reach, target_size)
        assert found is not None
        return found[0].shape, found[1].tolist()

    assert crop(3.0, 64.0) == ((120, 120, 3), [40, 55, 40, 10])
    assert crop(8.0, 10.0) == ((150, 160, 3), [70, 70, 20, 5])
    assert crop_frame(frame, box - [1000, 0, 0, 0], 3.0, 64.0) is None


def test_pairs_of_crops_are_those_of_the_frames(moving, tmp_path):
    """Nothing is shrunk, and the reach holds every search crop: JPEG's loss alone tells them."""
    output, index = tmp_path / "out", read_index("tracks", moving)
    prepare_crops(index, "tracks", output, CropOptions(60, reach=40.0, target_size=1e3), 2)
    whole = [box for box, seen in zip(index.boxes, index.visible, strict=True) if seen]
    np.testing.assert_array_equal(open_records(output).boxes, whole)
    options = CropOptions(60, reach=12.0, target_size=1e3, quality=100)
    prepare_crops(index, "tracks", tmp_path / "near", options, 2)
    sources = open_records(output), open_records(tmp_path / "near")
    readers = [
        Batches(PairSampler([source], [1.0], 20), VARIANTS["testing"], 8, 3, seed=0)
        for source in sources
    ]
    for ours, expected in zip(*readers, strict=True):
        np.testing.assert_allclose(ours.boxes, expected.boxes, atol=1e-3)
        difference = ours.search.astype(int) - expected.search
        assert np.abs(difference).mean() < 2.5


def test_the_command_prepares_crops(moving, tmp_path, capsys):
    command = ["--data-dir", str(moving), "--crops", "--dataset"]
    main([*command, "stills", "--output", str(tmp_path / "stills")])
    stills = open_records(tmp_path / "stills", "stills")
    assert len(stills.boxes) == 1
    check_box(stills.read(0), stills.boxes[0])
    assert "1 sequences, 1 frames" in capsys.readouterr().out
    more = ["--num-sequences", "2", "--frames-per-sequence", "20", "--reach", "2", "--quality=50"]
    main([*command, "tracks", "--output", str(tmp_path / "tracks"), *more])
    tracks = open_records(tmp_path / "tracks")
    np.testing.assert_array_equal(tracks.offsets, [0, 20, 40])
    assert "/large/" in tracks.frame_name(0)
    assert "/wide/" in tracks.frame_name(20)
    assert max(tracks.read(39).shape) <= 2 * 2 * 60 + 3
    kept = json.loads((tmp_path / "tracks" / records.METADATA).read_text())["crops"]
    assert (kept["reach"], kept["quality"]) == (2.0, 50)


def damaged_tracks(moving, tmp_path, damaged):
    folder = tmp_path / "tracks" / "small"
    folder.mkdir(parents=True)
    for file in (moving / "tracks" / "small").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    for number in damaged:
        (folder / f"{number:03}.jpg").write_bytes(b"")
    return read_index("tracks", tmp_path)


def test_unreadable_frames_are_left_out_and_many_stop_it(moving, tmp_path, monkeypatch, capsys):
    index = damaged_tracks(moving, tmp_path, [0, 5])
    made = prepare_crops(index, "tracks", tmp_path / "out", CropOptions())
    assert len(made.boxes) == 46
    assert made.frame_path(0).name == "001.jpg"
    assert "left out: frame" in capsys.readouterr().err
    monkeypatch.setattr(prepare, "_MAX_UNREADABLE", 1)
    with pytest.raises(InputError, match=r"2 frames cannot be read:(\n  frame .*[05]\.jpg.*){2}"):
        prepare_crops(index, "tracks", tmp_path / "other", CropOptions())
    assert not (tmp_path / "other").exists()


def test_sequences_that_become_too_short_are_left_out(moving, tmp_path):
    index = damaged_tracks(moving, tmp_path, range(40))
    with pytest.raises(InputError, match=r"no crops can be made of .*: 32 frames cannot be read"):
        prepare_crops(index, "tracks", tmp_path / "out", CropOptions())
    hidden = np.arange(60) < 10
    index = dataclasses.replace(index, visible=hidden)
    with pytest.raises(InputError, match=r"nothing to crop in .*: no still, and no sequence"):
        prepare_crops(index, "tracks", tmp_path / "out", CropOptions())
    assert [left.name for left in tmp_path.iterdir()] == ["tracks"]


@pytest.mark.parametrize(
    "options",
    [{"frames_per_sequence": 19}, {"num_sequences": 0}, {"reach": 0.0}, {"quality": 101}],
)
def test_numbers_that_make_no_crops_are_refused(options):
    with pytest.raises(InputError, match=r"frames_per_sequence must be at|crops need a pos"):
        CropOptions(**options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reach", "4"], "need --crops"),
        (["--crops", "--num-threads=0"], "--num-threads must be at least 1, got 0"),
        (["--output", "."], r"--output \. exists already"),
    ],
)
def test_options_are_checked_before_the_dataset_is_read(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        main(["--dataset", "tracks", "--data-dir", "none", "--output", "out", *arguments])
