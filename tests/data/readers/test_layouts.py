"""Every reader on a small tree in the layout that its dataset unpacks to."""

import json

import numpy as np
import pytest

from asymtrack_jax.data.datasets import DATASETS, read_index
from asymtrack_jax.data.index import build_index
from asymtrack_jax.data.readers import coco, folder, got10k, lasot, trackingnet, tracks
from asymtrack_jax.data.readers.labels import split_list
from asymtrack_jax.errors import InputError

BOXES = "1,2,30,40\n2,3,30,40\n3,4,0,40\n4,5,30,40\n"


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(index):
    return [sequence.name for sequence in index]


def check(index, frame, visible):
    """The sequence of `BOXES` whose third row is `frame`."""
    sequence = next(s for s in index if len(s.frames) > 2 and s.frames.path(2) == frame)
    np.testing.assert_array_equal(sequence.boxes[:, 0], [1, 2, 3, 4])
    np.testing.assert_array_equal(sequence.visible, visible)


def lasot_tree(root):
    for name in ("cat-10", "cat-2", "cat-1", "airplane-5"):
        folder = f"{name.split('-')[0]}/{name}"
        write(
            root,
            {
                f"{folder}/img/00000001.jpg": "",
                f"{folder}/groundtruth.txt": BOXES,
                f"{folder}/full_occlusion.txt": "0,1,0,0",
                f"{folder}/out_of_view.txt": "0,0,0,0\n",
            },
        )
    write(root, {"training_set.txt": "cat-2", "cat/notes.txt": ""})


def test_lasot(tmp_path):
    lasot_tree(tmp_path)
    index = build_index(tmp_path, lasot.parts(tmp_path))
    assert names(index) == ["airplane-5", "cat-2", "cat-10"]  # cat-1 is for testing
    frame = tmp_path / "cat" / "cat-10" / "img" / "00000003.jpg"
    check(index, frame, [True, False, False, True])


def got10k_tree(root, part, numbers, labelled=None):
    prefix = {"train": "GOT-10k_Train_", "val": "GOT-10k_Val_"}[part]
    write(root, {f"{part}/list.txt": "".join(f"{prefix}{n:06}\n" for n in numbers)})
    for number in numbers if labelled is None else labelled:
        folder = f"{part}/{prefix}{number:06}"
        write(
            root,
            {
                f"{folder}/00000001.jpg": "",
                f"{folder}/groundtruth.txt": BOXES,
                f"{folder}/absence.label": "0\n1\n0\n0\n",
                f"{folder}/cover.label": "8\n8\n8\n0\n",
            },
        )


@pytest.mark.parametrize("part", ["train", "val"])
def test_got10k(tmp_path, part):
    got10k_tree(tmp_path, part, [3, 1])
    index = build_index(tmp_path, got10k.parts(tmp_path, part))
    assert [name[-1] for name in names(index)] == ["3", "1"]
    frame = tmp_path / part / names(index)[1] / "00000003.jpg"
    check(index, frame, [True, False, False, False])


def test_got10ks_vot_splits_are_places_in_the_list(tmp_path):
    validation = [int(line) + 1 for line in split_list("got10k_vot_val_split")]
    got10k_tree(tmp_path, "train", range(1, 9336), labelled=validation[:2])
    parts = {split: got10k.parts(tmp_path, split) for split in ("vot_train", "vot_val")}
    assert {split: len(found) for split, found in parts.items()} == {
        "vot_train": 7086,
        "vot_val": 1249,
    }
    first = build_index(tmp_path, parts["vot_val"][:2])
    assert names(first) == ["GOT-10k_Train_001350", "GOT-10k_Train_005879"]
    assert not {part.files for part in parts["vot_train"]} & {p.files for p in parts["vot_val"]}


def test_trackingnet(tmp_path):
    for video in ("TRAIN_0/{}/b_1", "TRAIN_0/{}/a_0", "TRAIN_3/{}/ceH46gqMWak_0", "TRAIN_3/{}/c_0"):
        write(tmp_path, {video.format("anno") + ".txt": BOXES})
        write(tmp_path, {video.format("frames") + "/0.jpg": ""})
    index = build_index(tmp_path, trackingnet.parts(tmp_path, sets=(0, 3)))
    assert names(index) == ["a_0", "b_1", "c_0"]
    frame = tmp_path / "TRAIN_3" / "frames" / "c_0" / "2.jpg"
    check(index, frame, [True, True, False, True])
    with pytest.raises(InputError, match=r"no folder .*TRAIN_1/anno"):
        trackingnet.parts(tmp_path)


COCO = {
    "images": [{"id": 7, "file_name": "000007.jpg"}, {"id": 9, "file_name": "000009.jpg"}],
    "annotations": [
        {"image_id": 9, "bbox": [1.5, 2, 30, 40], "iscrowd": 0, "segmentation": [[1, 2]]},
        {"image_id": 7, "bbox": [0, 0, 99, 99], "iscrowd": 1, "segmentation": {"counts": [1]}},
        {"image_id": 7, "bbox": [5, 6, 8, 0], "iscrowd": 0},
        {"image_id": 7, "bbox": [5, 6, 7, 8], "iscrowd": 0},
        {"image_id": 9, "bbox": [9, 9, 70, 80], "iscrowd": 0},
    ],
}


@pytest.mark.parametrize("folder", ["train2017", "images/train2017"])
def test_coco(tmp_path, folder):
    write(tmp_path, {"annotations/instances_train2017.json": json.dumps(COCO)})
    write(tmp_path, {f"{folder}/000007.jpg": ""})
    index = build_index(tmp_path, coco.parts(tmp_path))
    images = [tmp_path / folder / name for name in ("000009.jpg", "000007.jpg", "000009.jpg")]
    assert [index.frame_path(row) for row in range(3)] == images
    assert [len(sequence.frames) for sequence in index] == [1, 1, 1]
    expected = np.array([[1.5, 2, 30, 40], [5, 6, 7, 8], [9, 9, 70, 80]])
    np.testing.assert_array_equal(index.boxes, expected)
    assert index.visible.all()


def tracks_tree(root):
    table = "file,x,y,w,h\n000001.jpg,1,2,30,40\n000003.jpg,2,3,30,40\n000009.jpg,3,4,0,40\n"
    write(root, {"tracks/car/boxes.csv": f"{table}000010.jpg,4,5,30,40\n"})
    write(root, {"tracks/car/000001.jpg": ""})
    stills = [
        {"file": "dogs/1.jpg", "boxes": [[1, 2, 3, 4, "dog"], [5, 6, 7, 8]]},
        {"file": "dogs/2.jpg", "boxes": []},
        {"file": "cats/1.jpg", "boxes": [[9, 9, 0, 9, "cat"], [9, 10, 11, 12, "cat"]]},
    ]
    write(root, {"stills/boxes.json": json.dumps(stills)})


def test_tracks_and_stills(tmp_path):
    tracks_tree(tmp_path)
    index = build_index(tmp_path, tracks.parts(tmp_path))
    check(index, tmp_path / "tracks" / "car" / "000009.jpg", [True, True, False, True])
    index = build_index(tmp_path, tracks.parts(tmp_path, "stills"))
    images = [tmp_path / "stills" / name for name in ("dogs/1.jpg", "dogs/1.jpg", "cats/1.jpg")]
    assert [index.frame_path(row) for row in range(len(index.boxes))] == images
    np.testing.assert_array_equal(index.boxes[:, 0], [1, 5, 9])
    assert len(index) == 3


def test_a_folder_of_sequences(tmp_path):
    images = {f"cat/img/{name}.png": "" for name in ("1", "02", "10", "11")}
    write(tmp_path, {**images, "cat/groundtruth.txt": BOXES, "notes/readme.txt": ""})
    index = read_index("folder", tmp_path, tmp_path / "cache")
    check(index, tmp_path / "cat" / "img" / "10.png", [True, True, False, True])
    (tmp_path / "cat" / "img" / "10.png").rename(tmp_path / "cat" / "img" / "10.jpg")
    index = read_index("folder", tmp_path, tmp_path / "cache")
    assert index.frame_path(2).name == "10.jpg"


def test_data_sets_have_names(tmp_path):
    with pytest.raises(InputError, match="unknown dataset 'lasso'; there are: lasot, got10k_vot"):
        read_index("lasso", tmp_path)
    tracks_tree(tmp_path)
    assert len(read_index("stills", tmp_path)) == 3
    for name, parts in DATASETS.items():
        with pytest.raises(InputError, match=r"no folder .*missing"):
            parts(tmp_path / name / "missing")


READERS = {
    folder: "no folder .*missing: expected one folder per sequence",
    lasot: "no folder .*missing: expected LaSOT",
    got10k: "no folder .*missing/train: expected GOT-10k",
    trackingnet: "no folder .*missing/TRAIN_0/anno: expected TrackingNet",
    coco: "no folder .*missing: expected COCO 2017",
    tracks: "no folder .*missing/tracks: expected tracks",
}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__.rpartition(".")[2])
def test_a_missing_root_is_named_with_what_was_expected(tmp_path, reader):
    with pytest.raises(InputError, match=READERS[reader]):
        reader.parts(tmp_path / "missing")


def damage(path, text):
    def apply(root):
        if text is None:
            (root / path).unlink()
        else:
            (root / path).write_text(text)

    return apply


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("cat/cat-2/groundtruth.txt", None, r"cannot read .*cat-2/groundtruth\.txt: No such file"),
        ("cat/cat-2/groundtruth.txt", "1,2,3\n", r"groundtruth\.txt, line 1: expected x,y,w,h"),
        ("cat/cat-2/out_of_view.txt", None, r"cannot read .*out_of_view\.txt: No such file"),
        ("cat/cat-2/out_of_view.txt", "0,0", r"out_of_view\.txt labels 2 frames .* 4 boxes"),
        ("cat/cat-2/full_occlusion.txt", "0,x,0,0", r"full_occlusion\.txt: expected one integer"),
        ("cat/cat-2/img/00000001.jpg", None, r"no image .*cat-2/img/00000001\.jpg"),
    ],
)
def test_damaged_annotations_are_named(tmp_path, path, text, message):
    lasot_tree(tmp_path)
    damage(path, text)(tmp_path)
    with pytest.raises(InputError, match=message):
        build_index(tmp_path, lasot.parts(tmp_path))


def test_missing_and_damaged_lists_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no training sequences in .*empty: expected LaSOT"):
        lasot.parts(tmp_path / "empty")
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match=r"cannot read .*train/list\.txt: No such file"):
        got10k.parts(tmp_path)
    got10k_tree(tmp_path, "train", [1])
    with pytest.raises(InputError, match=r"train/list\.txt names 1 sequences, but vot_train needs"):
        got10k.parts(tmp_path)
    (tmp_path / "TRAIN_0" / "anno").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no annotations in .*TRAIN_0/anno"):
        trackingnet.parts(tmp_path)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"images": [], "annotations": [{}]}'])
def test_damaged_coco_annotations_are_named(tmp_path, content):
    (tmp_path / "train2017").mkdir()
    if content is not None:
        write(tmp_path, {"annotations/instances_train2017.json": content})
    with pytest.raises(InputError, match=r"instances_train2017\.json"):
        build_index(tmp_path, coco.parts(tmp_path))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("tracks/car/boxes.csv", None),
        ("tracks/car/boxes.csv", ""),
        ("tracks/car/boxes.csv", "file,x,y,w\n1.jpg,1,2,3\n"),
        ("tracks/car/boxes.csv", "file,x,y,w,h\n1.jpg,1,2,3\n"),
        ("stills/boxes.json", None),
        ("stills/boxes.json", "{}x"),
        ("stills/boxes.json", '[{"file": "a.jpg", "boxes": [[1, 2]]}]'),
    ],
)
def test_damaged_tracks_and_stills_are_named(tmp_path, path, text):
    tracks_tree(tmp_path)
    damage(path, text)(tmp_path)
    with pytest.raises(InputError, match=path.rpartition("/")[2]):
        build_index(tmp_path, tracks.parts(tmp_path, path.partition("/")[0]))
