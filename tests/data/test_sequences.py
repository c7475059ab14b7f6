import struct
import zlib

import cv2
import numpy as np
import pytest

from asymtrack_jax.data.sequences import read_frame
from asymtrack_jax.errors import InputError


def encoded(image, extension=".png"):
    return cv2.imencode(extension, image)[1].tobytes()


def test_frames_are_read_as_rgb(tmp_path):
    bgr = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    (tmp_path / "colour.png").write_bytes(encoded(bgr))
    np.testing.assert_array_equal(read_frame(tmp_path / "colour.png"), bgr[..., ::-1])


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 4)])
def test_grey_and_transparent_images_become_rgb(tmp_path, shape):
    (tmp_path / "frame.png").write_bytes(encoded(np.full(shape, 200, np.uint8)))
    np.testing.assert_array_equal(read_frame(tmp_path / "frame.png"), np.full((5, 7, 3), 200))


@pytest.mark.parametrize("progressive", [0, 1])
def test_jpegs_that_break_off_are_refused(tmp_path, progressive):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
    data = cv2.imencode(".jpg", image, options)[1].tobytes()
    path = tmp_path / "frame.jpg"
    path.write_bytes(data)
    assert read_frame(path).shape == (64, 64, 3)
    path.write_bytes(data + b"trailing bytes")
    assert read_frame(path).shape == (64, 64, 3)
    path.write_bytes(data[:-200])
    with pytest.raises(InputError, match=r"frame\.jpg is truncated"):
        read_frame(path)


@pytest.mark.parametrize("data", [b"", b"not an image", encoded(np.zeros((9, 9, 3)))[:40]])
def test_what_is_no_image_is_refused(tmp_path, data):
    (tmp_path / "frame.png").write_bytes(data)
    with pytest.raises(InputError, match=r"frame\.png is not an image"):
        read_frame(tmp_path / "frame.png")


def test_missing_frames_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read frame .*missing\.jpg: No such file"):
        read_frame(tmp_path / "missing.jpg")


def test_images_beyond_the_decoder_are_refused(tmp_path):
    data = bytearray(encoded(np.zeros((9, 9, 3))))
    data[16:24] = struct.pack(">II", 60000, 60000)  # a header that promises 3.6 Gpixel
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    (tmp_path / "frame.png").write_bytes(data)
    with pytest.raises(InputError, match=r"cannot decode frame .*frame\.png"):
        read_frame(tmp_path / "frame.png")
