import numpy as np
import pytest

from asymtrack_jax.data.readers.folder import read_sequences
from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.errors import InputError


def make(directory, name, files=("1.jpg", "2.jpg"), lines=("1,2,3,4", "2,3,4,5")):
    """A sequence on disk; its images are never opened by the reader."""
    (directory / name / "img").mkdir(parents=True)
    for file in files:
        (directory / name / "img" / file).touch()
    (directory / name / "groundtruth.txt").write_text("\n".join(lines) + "\n")


def refusal(directory):
    with pytest.raises(InputError) as caught:
        read_sequences(directory)
    return str(caught.value)


def test_sequences_come_with_frames_and_boxes_in_order(tmp_path):
    files = ["frame10.PNG", "frame9.jpeg", "frame1.jpg", "notes.txt", ".hidden.jpg"]
    make(tmp_path, "b", files, ["1,2,3,4", "nan,nan,nan,nan", "5.5,6,7,8"])
    make(tmp_path, "a10")
    make(tmp_path, "a9")
    (tmp_path / "unrelated").mkdir()
    (tmp_path / "README.md").touch()
    sequences = read_sequences(tmp_path)
    assert [sequence.name for sequence in sequences] == ["a9", "a10", "b"]
    frames = sequences[2].frames
    assert len(frames) == 3
    for index, name in enumerate(["frame1.jpg", "frame9.jpeg", "frame10.PNG"]):
        with pytest.raises(InputError, match=f"frame .*b/img/{name} is not an image"):
            frames[index]
    boxes = sequences[2].boxes
    np.testing.assert_array_equal(boxes, [[1, 2, 3, 4], [np.nan] * 4, [5.5, 6, 7, 8]])
    assert boxes.dtype == np.float64
    assert sequences[2].visible is None


@pytest.mark.parametrize("lines", ["1,2,3,4.5", "1\t2\t3\t4.5\r", "1 2  3 4.5", "1, 2, 3, 4.5\n\n"])
def test_any_usual_separator_will_do(tmp_path, lines):
    path = tmp_path / "boxes.txt"
    path.write_text("\ufeff" + lines, encoding="utf-8")
    np.testing.assert_array_equal(read_boxes(path), [[1, 2, 3, 4.5]])


@pytest.mark.parametrize(
    "line", ["1,2,3", "1,2,3,4,5", "1,2,three,4", "", "1,2,inf,4", "1,nan,3,4", "1,,3,4"]
)
def test_lines_that_are_no_box_are_named(tmp_path, line):
    path = tmp_path / "boxes.txt"
    path.write_text(f"1,2,3,4\n{line}\n1,2,3,4\n")
    with pytest.raises(InputError, match=r"boxes\.txt, line 2: expected x,y,w,h"):
        read_boxes(path)


def test_files_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "boxes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        read_boxes(tmp_path / "boxes.txt")


def test_a_missing_folder_says_what_was_expected(tmp_path):
    message = refusal(tmp_path / "nowhere")
    assert "nowhere" in message
    assert "<sequence>/img/*.jpg" in message


def test_a_folder_without_sequences_says_what_was_expected(tmp_path):
    (tmp_path / "unrelated").mkdir()
    message = refusal(tmp_path)
    assert "no sequences" in message
    assert "<sequence>/groundtruth.txt" in message


def test_all_problems_are_reported_together(tmp_path):
    make(tmp_path, "fine")
    make(tmp_path, "text", lines=["1,2,3,4", "hello"])
    make(tmp_path, "absent", lines=["nan,nan,nan,nan", "1,2,3,4"])
    make(tmp_path, "flat", lines=["1,2,3,0", "1,2,3,4"])
    make(tmp_path, "empty", lines=[])
    make(tmp_path, "unannotated")
    (tmp_path / "unannotated" / "groundtruth.txt").unlink()
    heading, *problems = refusal(tmp_path).splitlines()[1:]
    assert heading == "5 of 6 sequences cannot be read:"
    for problem, (name, words) in zip(
        problems,
        [
            ("absent", "line 1: the first box must have a positive size"),
            ("empty", "its annotation is empty"),
            ("flat", "line 1: the first box must have a positive size"),
            ("text", "line 2: expected x,y,w,h"),
            ("unannotated", "cannot read"),
            ("--allow-missing", "sequences that are there"),
        ],
        strict=True,
    ):
        assert name in problem
        assert words in problem


def test_images_are_looked_for_when_a_frame_is_read(tmp_path):
    make(tmp_path, "no_images", files=[])
    (tmp_path / "no_images" / "img").rmdir()
    make(tmp_path, "short", files=["1.jpg", "2.jpg", "3.jpg"])
    no_images, short = read_sequences(tmp_path)
    with pytest.raises(InputError, match=r"no folder .*no_images/img"):
        no_images.frames[0]
    with pytest.raises(InputError, match="holds 3 images where 2 frames are annotated"):
        short.frames[0]
