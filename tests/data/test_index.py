import functools
import os
import pickle

import numpy as np
import pytest

from asymtrack_jax.data.index import Part, build_index, open_index
from asymtrack_jax.data.sequences import Images, Sequence, numbered_images
from asymtrack_jax.errors import InputError

BOXES = np.array([[1.5, 2, 3, 4], [np.nan] * 4, [5, 6, 7, 8]])
VISIBLE = np.array([True, False, True])
COLUMNS = ("folders", "offsets", "files", "boxes", "visible")


@pytest.fixture
def parts(tmp_path):
    def read(name, length):
        reads.append(name)
        images = numbered_images(tmp_path / "videos" / name, "{:04}.jpg", range(1, length + 1))
        return [Sequence(name, images, BOXES[:length], VISIBLE[:length])]

    reads = []
    found = []
    for name, length in (("a", 3), ("büro", 1), ("c", 2)):
        file = tmp_path / f"{name}.txt"
        file.write_text("one")
        found.append(Part((file,), functools.partial(read, name, length)))
    return found, reads


def test_an_index_gives_back_every_sequence(tmp_path, parts):
    index = build_index(tmp_path, parts[0])
    assert len(index) == 3
    assert index.boxes.dtype == np.float32
    assert index.frame_path(2) == tmp_path / "videos" / "a" / "0003.jpg"
    assert index.frame_path(3) == tmp_path / "videos" / "büro" / "0001.jpg"
    assert index.rows(2) == slice(4, 6)
    sequence = index[0]
    assert sequence.name == "a"
    assert isinstance(sequence.frames, Images)
    assert sequence.frames.path(0) == tmp_path / "videos" / "a" / "0001.jpg"
    np.testing.assert_array_equal(sequence.boxes, BOXES)
    np.testing.assert_array_equal(sequence.visible, VISIBLE)
    assert [len(sequence.frames) for sequence in index] == [3, 1, 2]


def test_an_index_is_cached_until_an_annotation_changes(tmp_path, parts):
    found, reads = parts
    cache = tmp_path / "below" / "cache"
    first = open_index(tmp_path, found, cache)
    second = open_index(tmp_path, found, cache)
    assert reads == ["a", "büro", "c"]
    in_memory = build_index(tmp_path, found)
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(second, column), getattr(in_memory, column))
    assert isinstance(second.boxes, np.memmap)
    assert second.frame_path(5) == first.frame_path(5) == in_memory.frame_path(5)

    reads.clear()
    os.utime(found[1].files[0], ns=(0, 12345))
    open_index(tmp_path, found, cache)
    open_index(tmp_path, found[:2], cache)
    assert reads == ["a", "büro", "c", "a", "büro"]
    assert not list(cache.glob(".*")), "something half written was left behind"


def test_a_mapped_index_travels_by_name(tmp_path, parts):
    index = open_index(tmp_path, parts[0], tmp_path / "cache")
    pickled = pickle.dumps(index)
    assert len(pickled) < 500
    np.testing.assert_array_equal(pickle.loads(pickled).boxes, index.boxes)
    in_memory = pickle.loads(pickle.dumps(build_index(tmp_path, parts[0])))
    np.testing.assert_array_equal(in_memory.boxes, index.boxes)
    assert in_memory.frame_path(3) == index.frame_path(3)


def test_names_by_a_rule(tmp_path):
    files = numbered_images(tmp_path, "img/{:03}.jpg", range(9, 12)).files
    assert files.tolist() == [
        b"img/009.jpg",
        b"img/010.jpg",
        b"img/011.jpg",
    ]
    assert numbered_images(tmp_path, "{}.jpg", range(0)).files.tolist() == []


def test_a_missing_annotation_and_an_empty_set_are_refused(tmp_path, parts):
    found, _ = parts
    with pytest.raises(InputError, match="no annotated sequences in"):
        open_index(tmp_path, [])
    found[1].files[0].unlink()
    with pytest.raises(InputError, match=r"cannot read .*büro\.txt: No such file"):
        open_index(tmp_path, found, tmp_path / "cache")


def test_a_sequence_without_annotation_or_image_is_refused(tmp_path):
    def read(length):
        images = numbered_images(tmp_path, "{}.jpg", range(length))
        return Sequence("a", images, BOXES[:length])

    for length, message in ((0, "a: its annotation is empty"), (2, r"no image .*0\.jpg, although")):
        with pytest.raises(InputError, match=message):
            build_index(tmp_path, [Part.of([], read, length)])
