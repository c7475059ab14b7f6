"""Readers of whole benchmarks, on trees of annotations without images."""

import cv2
import numpy as np
import pytest

from asymtrack_jax.data.readers import got10k, lasot, nfs, otb, tnl2k, trackingnet, uav123
from asymtrack_jax.data.readers.benchmark import table
from asymtrack_jax.data.readers.labels import split_list
from asymtrack_jax.errors import InputError

BOXES = "11,12,30,40\n13,14,30,40\nNaN,NaN,NaN,NaN\n"


def write(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def write_image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((4, 6, 3), value, np.uint8))


def otb_tree(root):
    for row in table("otb100"):
        count = int(row["last"]) - int(row["first"]) + 1
        separator = "\t" if row["sequence"] == "Biker" else ","
        lines = [separator.join(["5", "7", "30", str(40 + i % 7)]) for i in range(count)]
        write(root, {f"{row['folder']}/{row['annotation']}": "\n".join(lines)})


def test_otb100_has_the_published_ranges_and_counts_from_zero(tmp_path):
    otb_tree(tmp_path)
    sequences = {sequence.name: sequence for sequence in otb.read_sequences(tmp_path)}
    assert len(sequences) == 100
    assert sum(len(sequence.frames) for sequence in sequences.values()) == 59035
    np.testing.assert_array_equal(sequences["Biker"].boxes[0], [4, 6, 30, 40])
    david = sequences["David"]
    assert len(david.frames) == len(david.boxes) == 471
    write_image(tmp_path / "David" / "img" / "0300.jpg")
    assert david.frames[0].shape == (4, 6, 3)
    # Tiger1 starts with its sixth frame, and so with its sixth line.
    assert sequences["Tiger1"].boxes[0, 3] == 45
    assert len(sequences["Tiger1"].frames) == 349
    write_image(tmp_path / "Board" / "img" / "00001.jpg")
    assert sequences["Board"].frames[0].shape == (4, 6, 3)
    with pytest.raises(InputError, match=r"cannot read frame .*0006\.jpg"):
        sequences["Tiger1"].frames[0]


def test_missing_entries_are_listed_ten_at_most(tmp_path):
    with pytest.raises(InputError, match=r"no folder .*nowhere: expected OTB100"):
        otb.read_sequences(tmp_path / "nowhere")
    otb_tree(tmp_path)
    (tmp_path / "Girl" / "groundtruth_rect.txt").write_text("1,2,3,4\n")
    (tmp_path / "Dog" / "groundtruth_rect.txt").write_text("nan,nan,nan,nan\n" * 127)
    with pytest.raises(InputError) as caught:
        otb.read_sequences(tmp_path)
    message = str(caught.value)
    assert "2 of 100 sequences cannot be read" in message
    assert "groundtruth_rect.txt has 1 lines for frames 1 to 500" in message
    assert "Dog, line 1: the first box must have a positive size" in message

    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        otb.read_sequences(tmp_path / "empty")
    lines = str(caught.value).splitlines()
    assert lines[1] == "100 of 100 sequences cannot be read:"
    assert lines[-1] == "  and 90 more"
    assert len(lines) == 13
    assert "Basketball" in lines[2]


def test_uav123_sequences_are_parts_of_folders(tmp_path):
    for row in table("uav123"):
        count = int(row["last"]) - int(row["first"]) + 1
        lines = "11,12,30,40\n" * (count - 1) + "NaN,NaN,NaN,NaN\n"
        write(tmp_path, {f"anno/UAV123/{row['sequence']}.txt": lines})
    sequences = {sequence.name: sequence for sequence in uav123.read_sequences(tmp_path)}
    assert len(sequences) == 123
    part = sequences["bird1_2"]
    assert len(part.frames) == 1477 - 775 + 1
    assert np.isnan(part.boxes[-1]).all()
    write_image(tmp_path / "data_seq" / "UAV123" / "bird1" / "000775.jpg")
    assert part.frames[0].shape == (4, 6, 3)
    write(tmp_path, {"anno/UAV123/bird1_2.txt": "1,2,3,4"})
    with pytest.raises(InputError, match=r"bird1_2\.txt has 1 lines for frames 775 to 1477"):
        uav123.read_sequences(tmp_path)


@pytest.fixture
def nfs_tree(tmp_path, monkeypatch):
    """Three sequences of the hundred: the whole set has a third of a million lines."""
    rows = table("nfs")
    assert len(rows) == 100
    some = [row for row in rows if row["sequence"] in ("Gymnastics", "suv", "yoyo")]
    monkeypatch.setattr(nfs, "table", lambda name: some)
    for row in some:
        name, count = row["sequence"], int(row["frames"])
        lines = [f'0 {i} 20 {i + 30} 60 {i} 0 0 1 "thing"\n' for i in range(8 * count)]
        write(tmp_path, {f"{name}/{rate}/{name}.txt": "".join(lines) for rate in (30, 240)})
    return tmp_path


def test_nfs_takes_every_eighth_line_at_30_frames_a_second(nfs_tree, tmp_path):
    slow, fast = (nfs.read_sequences(tmp_path, rate=rate) for rate in (30, 240))
    assert len(slow) == len(fast) == 3
    assert (slow[0].name, len(slow[0].frames), len(fast[0].frames)) == ("Gymnastics", 368, 8 * 368)
    np.testing.assert_array_equal(slow[0].boxes[2], [16, 20, 30, 40])
    np.testing.assert_array_equal(fast[0].boxes[2], [2, 20, 30, 40])
    write_image(tmp_path / "Gymnastics" / "30" / "Gymnastics" / "00001.jpg")
    assert slow[0].frames[0].shape == (4, 6, 3)


def test_nfs_lines_that_are_no_boxes_and_short_annotations_are_named(nfs_tree, tmp_path):
    write(tmp_path, {"yoyo/30/yoyo.txt": "0 1 2 3\n", "suv/30/suv.txt": "0 1 2 30 40 1\n" * 99})
    with pytest.raises(InputError) as caught:
        nfs.read_sequences(tmp_path, rate=30)
    assert "yoyo.txt, line 1: expected track, xmin, ymin, xmax, ymax" in str(caught.value)
    assert "suv.txt annotates 99 of 2584 frames" in str(caught.value)


def test_tnl2k_takes_whatever_images_there_are(tmp_path):
    write(tmp_path, {"b_video/groundtruth.txt": BOXES, "a_video/groundtruth.txt": BOXES})
    (tmp_path / "unrelated").mkdir()
    for name in ("0.png", "1.jpg"):
        write_image(tmp_path / "a_video" / "imgs" / name)
    first, second = tnl2k.read_sequences(tmp_path)
    assert (first.name, second.name, len(first.frames)) == ("a_video", "b_video", 3)
    with pytest.raises(InputError, match="imgs holds 2 images where 3 frames are annotated"):
        first.frames[0]
    with pytest.raises(InputError, match=r"no folder .*b_video/imgs: expected 3 images"):
        second.frames[0]
    write_image(tmp_path / "a_video" / "imgs" / "2.jpg", 200)
    assert tnl2k.read_sequences(tmp_path)[0].frames[2].mean() == 200
    with pytest.raises(InputError, match=r"no sequences in .*unrelated: expected TNL2K"):
        tnl2k.read_sequences(tmp_path / "unrelated")


def lasot_files(name):
    folder = f"{name.rpartition('-')[0]}/{name}"
    labels = {"groundtruth": BOXES, "full_occlusion": "0,1,0", "out_of_view": "0,0,1"}
    return {f"{folder}/{label}.txt": text for label, text in labels.items()}


def test_lasot_and_its_extension(tmp_path):
    for name in split_list("lasot_testing_set"):
        write(tmp_path, lasot_files(name))
    sequences = lasot.read_sequences(tmp_path)
    assert len(sequences) == 280
    assert sequences[0].name == "airplane-1"
    np.testing.assert_array_equal(sequences[0].visible, [True, False, False])
    write_image(tmp_path / "airplane" / "airplane-1" / "img" / "00000002.jpg")
    assert sequences[0].frames[1].shape == (4, 6, 3)
    with pytest.raises(InputError, match=r"150 of 150 sequences(.|\n)*atv-1/groundtruth\.txt"):
        lasot.read_extension(tmp_path)
    for group in lasot.EXTENSION:
        for number in range(1, 11):
            write(tmp_path, lasot_files(f"{group}-{number}"))
    assert [each.name for each in lasot.read_extension(tmp_path)][9:11] == ["atv-10", "badminton-1"]


def test_got10k_validation_has_cover_and_size_and_needs_no_images(tmp_path):
    write(
        tmp_path / "val",
        {
            "list.txt": "GOT-10k_Val_000002\n",
            "GOT-10k_Val_000002/groundtruth.txt": BOXES.replace("NaN", "0"),
            "GOT-10k_Val_000002/cover.label": "8\n0\n1\n",
            "GOT-10k_Val_000002/meta_info.ini": "[METAINFO]\nurl: x\nresolution: (1920, 1080)\n",
        },
    )
    (sequence,) = got10k.read_validation(tmp_path)
    assert sequence.size == (1080, 1920)
    np.testing.assert_array_equal(sequence.visible, [True, False, True])
    assert len(sequence.frames) == 3
    write(tmp_path / "val", {"GOT-10k_Val_000002/meta_info.ini": "[METAINFO]\n"})
    with pytest.raises(InputError, match=r"meta_info\.ini has no line `resolution"):
        got10k.read_validation(tmp_path)
    with pytest.raises(InputError, match=r"cannot read .*test/list\.txt"):
        got10k.read_test(tmp_path)


def test_test_sets_know_the_first_box_alone(tmp_path):
    video = tmp_path / "test" / "GOT-10k_Test_000001"
    write(tmp_path / "test", {"list.txt": "GOT-10k_Test_000001\n"})
    write(video, {"groundtruth.txt": "11,12,30,40\n"})
    with pytest.raises(InputError, match=r"no image .*00000001\.jpg"):
        got10k.read_test(tmp_path)
    for number in (1, 2, 3):
        write_image(video / f"{number:08}.jpg", number)
    (sequence,) = got10k.read_test(tmp_path)
    assert (len(sequence.frames), sequence.boxes.shape) == (3, (3, 4))
    np.testing.assert_array_equal(sequence.boxes[0], [11, 12, 30, 40])
    assert np.isnan(sequence.boxes[1:]).all()

    with pytest.raises(InputError, match=r"no folder .*TEST/anno: expected TrackingNet"):
        trackingnet.read_test(tmp_path)
    write(tmp_path / "TEST" / "anno", {"b_0.txt": "1,2,30,40", "a_0.txt": "1,2,30,40\n1,3,30,40"})
    for number in (0, 1, 10):
        for name in "ab":
            write_image(tmp_path / "TEST" / "frames" / f"{name}_0" / f"{number}.jpg")
    with pytest.raises(InputError, match=r"a_0\.txt has 2 lines for 3 images"):
        trackingnet.read_test(tmp_path)
    write(tmp_path / "TEST" / "anno", {"a_0.txt": "1,2,30,40\n" * 3})
    annotated, withheld = trackingnet.read_test(tmp_path)
    assert (annotated.name, withheld.name) == ("a_0", "b_0")
    assert np.isfinite(annotated.boxes).all()
    assert np.isnan(withheld.boxes[1:]).all()
    assert len(withheld.frames) == 3
