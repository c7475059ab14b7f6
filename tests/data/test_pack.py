"""Packs of small data sets whose targets are known by their colour."""

import json
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data import pack as packing
from asymtrack_jax.data.datasets import open_dataset, read_index
from asymtrack_jax.data.pack import PackOptions, crop_frame, main, open_pack, pack
from asymtrack_jax.data.pipeline import Batches
from asymtrack_jax.data.sampler import PairSampler, record_generator
from asymtrack_jax.data.sequences import Source
from asymtrack_jax.errors import InputError

CONFIG = VARIANTS["testing"]
SIZES = {"small": (20, 12), "large": (90, 160), "wide": (120, 30)}  # of the targets: w, h
NUM_FRAMES = 60


def target(name, number):
    """The target's box in frame `number`; it begins partly outside of the frame."""
    w, h = SIZES[name]
    return np.array([-w // 2 + 4 * number, 40 + number, w, h])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three tracks of a red target on grey; it is hidden in every fifth frame, which is black."""
    root = tmp_path_factory.mktemp("data")
    for name in SIZES:
        folder = root / "tracks" / name
        folder.mkdir(parents=True)
        lines = ["file,x,y,w,h"]
        for number in range(NUM_FRAMES):
            x, y, w, h = target(name, number)
            frame = np.full((240, 320, 3), 90, np.uint8)
            frame[y : y + h, max(x, 0) : x + w] = 0, 0, 255
            if number % 5 == 4:
                frame[:] = h = 0
            cv2.imwrite(str(folder / f"{number:03}.jpg"), frame)
            lines.append(f"{number:03}.jpg,{x},{y},{w},{h}")
        (folder / "boxes.csv").write_text("\n".join(lines))
    (root / "stills").mkdir()
    frame[:] = 90
    frame[100:150, 200:240] = 0, 0, 255
    cv2.imwrite(str(root / "stills" / "1.jpg"), frame)
    stills = [{"file": "1.jpg", "boxes": [[200, 100, 40, 50], [100, 100, 400, 0]]}]
    (root / "stills" / "boxes.json").write_text(json.dumps(stills))
    return root


@pytest.fixture(scope="module")
def packed(root, tmp_path_factory):
    output = tmp_path_factory.mktemp("packs") / "tracks"
    options = PackOptions(frames_per_sequence=24, target_side=40.0)
    return pack(read_index("tracks", root), output, options, "tracks", num_threads=2)


def check_box(frame, box):
    """The box is where it is red, as far as chroma at half the resolution says."""
    rows, columns = np.nonzero((frame[..., 0] > 150) & (frame[..., 1] < 60))
    low, high = np.maximum(box[:2], 0), np.minimum(box[:2] + box[2:], frame.shape[1::-1])
    np.testing.assert_allclose([columns.min(), rows.min()], low, atol=1.5)
    np.testing.assert_allclose([columns.max() + 1, rows.max() + 1], high, atol=1.5)


def test_visible_frames_are_kept_evenly_and_boxes_are_right(packed):
    assert isinstance(packed, Source)
    np.testing.assert_array_equal(packed.offsets, [0, 24, 48, 72])
    assert packed.visible.all()
    assert packed.boxes.dtype == np.float32
    for sequence, name in enumerate(sorted(SIZES)):
        w, h = SIZES[name]
        numbers = []
        for row in range(*packed.offsets[sequence : sequence + 2]):
            frame, box = packed.read(row), packed.boxes[row]
            check_box(frame, box)
            size = np.sqrt(box[2:].prod())
            assert size == pytest.approx(min(np.sqrt(w * h), 40), rel=0.02)
            assert box[2] / box[3] == pytest.approx(w / h, rel=0.05)
            assert max(frame.shape) <= 2 * 4.25 * size + 3
            assert packed.frame_name(row).startswith(f"{packed.name} (")
            assert f"/{name}/" in packed.frame_name(row)
            numbers.append(int(packed.frame_name(row)[-8:-5]))
        assert not any(number % 5 == 4 for number in numbers)
        assert (numbers[0], numbers[-1]) == (0, NUM_FRAMES - 2)
        assert set(np.diff(numbers)) <= {1, 2, 3, 4}


def test_crops_reach_as_far_as_asked_and_end_at_the_frame():
    frame = np.zeros((300, 400, 3), np.uint8)
    box = np.array([180.0, 140.0, 40.0, 10.0])  # 20 pixels a side, around 200, 145

    def cropped(reach, target_side):
        found = crop_frame(frame, box, reach, target_side)
        assert found is not None
        return found[0].shape, found[1].tolist()

    assert cropped(3.0, 64.0) == ((120, 120, 3), [40, 55, 40, 10])
    assert cropped(8.0, 10.0) == ((150, 160, 3), [70, 70, 20, 5])
    assert crop_frame(frame, box - [1000, 0, 0, 0], 3.0, 64.0) is None


def test_pairs_of_a_pack_show_the_target_where_the_box_says(packed):
    sampler = PairSampler([packed], [1.0], max_gap=10)
    assert {sampler.draw(record_generator(0, n)).template // 24 for n in range(50)} == {0, 1, 2}
    batches = list(Batches(sampler, CONFIG, 8, 4, seed=0, loader="threads"))
    checked = 0
    for batch in batches:
        for search, box in zip(batch.search, batch.boxes, strict=True):
            low, high = 128 * box[:2], 128 * (box[:2] + box[2:])
            reddish = search[..., 0].astype(int) > search[..., 1].astype(int) + 60
            if not reddish.any() or (low < 0).any() or (high > 128).any():
                continue
            rows, columns = np.nonzero(reddish)
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(found[2:], high, atol=8)  # frame pixels, enlarged
            checked += 1
    assert checked > 5


def test_a_pack_travels_by_name(packed):
    pickled = pickle.dumps(packed)
    assert len(pickled) < 500
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again.read(30), packed.read(30))
    assert again.frame_name(30) == packed.frame_name(30)


def test_stills_and_fewer_sequences(root, tmp_path, capsys):
    command = ["--data_dir", str(root), "--dataset"]
    main([*command, "stills", "--output", str(tmp_path / "stills")])
    stills = open_dataset("pack", tmp_path / "stills")
    assert len(stills.boxes) == 1
    frame = stills.read(0)
    check_box(frame, stills.boxes[0])
    assert "1 sequences, 1 frames" in capsys.readouterr().out
    more = ["--num-sequences", "2", "--frames-per-sequence", "20", "--reach", "2", "--quality=50"]
    main([*command, "tracks", "--output", str(tmp_path / "tracks"), *more])
    tracks = open_pack(tmp_path / "tracks")
    np.testing.assert_array_equal(tracks.offsets, [0, 20, 40])
    assert "/large/" in tracks.frame_name(0)
    assert "/wide/" in tracks.frame_name(20)
    assert max(tracks.read(39).shape) <= 2 * 2 * 60 + 3


def damaged_tracks(root, tmp_path, damaged):
    folder = tmp_path / "tracks" / "small"
    folder.mkdir(parents=True)
    for file in (root / "tracks" / "small").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    for number in damaged:
        (folder / f"{number:03}.jpg").write_bytes(b"")
    return read_index("tracks", tmp_path)


def test_unreadable_frames_are_left_out_and_many_stop_it(root, tmp_path, monkeypatch, capsys):
    index = damaged_tracks(root, tmp_path, [0, 5])
    made = pack(index, tmp_path / "out", PackOptions(), "tracks")
    assert len(made.boxes) == 46
    assert "001.jpg" in made.frame_name(0)
    assert "left out: frame" in capsys.readouterr().err
    monkeypatch.setattr(packing, "_MAX_UNREADABLE", 1)
    with pytest.raises(InputError, match=r"2 frames cannot be read:(\n  frame .*0\.jpg.*){1}"):
        pack(index, tmp_path / "other", PackOptions(), "tracks")
    assert not (tmp_path / "other").exists()


def test_sequences_that_become_too_short_are_left_out(root, tmp_path):
    index = damaged_tracks(root, tmp_path, range(40))
    with pytest.raises(InputError, match=r"nothing of .* can be packed: 32 unreadable"):
        pack(index, tmp_path / "out", PackOptions(), "tracks")
    hidden = np.zeros(60, bool)
    hidden[:10] = True
    object.__setattr__(index, "visible", hidden)
    with pytest.raises(InputError, match=r"nothing to pack in .*: no still, and no sequence"):
        pack(index, tmp_path / "out", PackOptions(), "tracks")


def test_what_is_no_pack_is_refused(packed, tmp_path):
    with pytest.raises(InputError, match=r"no pack in .*missing: data.pack makes them"):
        open_dataset("pack", tmp_path / "missing")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in packed.directory.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "frames.bin").write_bytes(packed.frames[:-1].tobytes())
    with pytest.raises(InputError, match=r"copy/frames\.bin is incomplete: copy it again"):
        open_pack(copy)
    (copy / "pack.json").write_text('{"format": 0}')
    with pytest.raises(InputError, match="was made by another version"):
        open_pack(copy)


@pytest.mark.parametrize(
    "options",
    [{"frames_per_sequence": 19}, {"num_sequences": 0}, {"reach": 0.0}, {"quality": 101}],
)
def test_numbers_that_make_no_pack_are_refused(options):
    with pytest.raises(InputError, match=r"frames_per_sequence must be at least 20|cannot pack by"):
        PackOptions(**options)


def test_packs_are_made_and_read_without_grain_and_tfds(root, tmp_path):
    code = (
        "import sys\n"
        "for name in ('grain', 'tensorflow_datasets', 'array_record', 'absl'):\n"
        "    sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from asymtrack_jax.config import VARIANTS, DataConfig, Roots\n"
        "from asymtrack_jax.data import pack\n"
        "from asymtrack_jax.data.datasets import open_sources\n"
        "from asymtrack_jax.data.pipeline import Batches\n"
        "from asymtrack_jax.data.sampler import PairSampler\n"
        "root, output = sys.argv[1:]\n"
        "pack.main(['--dataset', 'tracks', '--data-dir', root, '--output', output])\n"
        "data = DataConfig(('pack',), (1.0,), roots=Roots(pack=Path(output)))\n"
        "sampler = PairSampler(open_sources(data.sources, data), data.shares)\n"
        "batches = Batches(sampler, VARIANTS['testing'], 2, 2, seed=0, loader='threads')\n"
        "print([batch.search.shape for batch in batches])\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(root), str(tmp_path / "out")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "[(2, 128, 128, 3), (2, 128, 128, 3)]" in run.stdout
