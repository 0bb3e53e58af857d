"""Compressed images: what their format says, what was lost, and files that claim too much."""

from __future__ import annotations

import array
import struct
import zlib

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from vla_entropy_ros.images import ImageError, decode, read

from .sent import file, mosaic, scene

BGR = cv2.COLOR_RGB2BGR
PICTURE = scene(32, 48)
LOST = "have lost their colours, the policy sees grey"


def colours(message: CompressedImage) -> np.ndarray:
    """A pixel of the left half, and one of the right."""
    return decode(message)[16, [8, 40]].astype(int)


@pytest.mark.parametrize("kind", ["jpg", "png", "tiff", "webp"])
def test_colours_keep_their_order(kind: str) -> None:
    message = file(cv2.cvtColor(PICTURE, BGR), kind, kind)
    assert np.abs(colours(message) - PICTURE[16, [8, 40]]).max() < 8
    assert read(message).doubt is None


@pytest.mark.parametrize("before", ["rgb8", "bgr8", "bayer_rggb8", "mono8", "16UC1"])
def test_a_file_of_the_images_own_numbers_is_read_by_its_encoding(before: str) -> None:
    """As image_transport writes TIFF, and PNG of one number per pixel: nothing converted, nothing named at the end."""
    grey = PICTURE[..., 0]
    inside = {
        "rgb8": (PICTURE, "tiff"),
        "bgr8": (cv2.cvtColor(PICTURE, BGR), "tiff"),
        "bayer_rggb8": (mosaic(PICTURE, "rggb"), "png"),
        "mono8": (grey, "png"),
        "16UC1": (grey.astype(np.uint16) * 257, "png"),
    }[before]
    message = file(*inside, f"{before}; {inside[1]} compressed ")
    expected = PICTURE if "8" in before and before != "mono8" else np.stack([grey] * 3, -1)
    np.testing.assert_array_equal(colours(message), expected[16, [8, 40]])
    assert (read(message).doubt is not None) == (before == "16UC1")


def test_png_of_sixteen_bits_is_scaled_as_raw_images_are() -> None:
    deep = np.array([[[0, 32896, 65535]]], np.uint16)  # blue, green, red
    message = file(deep, "png", "rgb16; png compressed bgr16")
    assert decode(message).tolist() == [[[255, 128, 0]]]


@pytest.mark.parametrize(
    "format_",
    ["yuv422_yuy2; jpeg compressed mono8", "bayer_rggb8; jpeg compressed mono8", "rgb8; jpeg compressed bgr8"],
)
def test_a_grey_file_of_a_coloured_image_is_read_with_a_doubt(format_: str) -> None:
    message = file(PICTURE[..., 0], "jpg", format_)
    seen = read(message)
    assert LOST in (seen.doubt or "")
    assert repr(format_) in (seen.doubt or "")
    assert "\n" not in (seen.doubt or "")
    assert seen.pixels.shape == PICTURE.shape
    assert np.ptp(seen.pixels[16, 8]) == 0


@pytest.mark.parametrize("target", ["", "bayer_rggb8"])
def test_a_mosaic_in_a_png_is_developed(target: str) -> None:
    mosaic = np.zeros((16, 16), np.uint8)
    mosaic[::2, ::2] = 200  # red alone
    seen = read(file(mosaic, "png", f"bayer_rggb8; png compressed {target}"))
    assert seen.doubt is None
    assert seen.pixels[8, 8].tolist() == [200, 0, 0]


@pytest.mark.parametrize("format_", ["jpeg", "mono8; jpeg compressed mono8", "mono16; png compressed ", ""])
def test_a_grey_camera_is_no_doubt(format_: str) -> None:
    assert read(file(PICTURE[..., 0], "jpg", format_)).doubt is None


@pytest.mark.parametrize("format_", ["16UC1; compressedDepth png", "32FC1; compressedDepth", "compressedDepth"])
def test_a_compressed_depth_image_is_refused_by_name(format_: str) -> None:
    message = file(PICTURE[..., 0], "png", format_)
    message.data = array.array("B", bytes(12) + message.data.tobytes())  # its head: how the depth was quantised
    with pytest.raises(ImageError, match=r"is a depth image \(compressedDepth\), no picture: give the topic of the"):
        decode(message)


def test_numbers_of_depth_are_no_picture() -> None:
    depth = np.full((8, 8), 1.5, np.float32)
    for format_ in ("32FC1; tiff compressed ", "tiff"):
        with pytest.raises(ImageError, match=r"no picture.*colour image \(image:=") as refusal:
            decode(file(depth, "tiff", format_))
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xe0 not a picture", b"\x89PNG\r\n\x1a\n", b"\0" * 100])
def test_a_broken_file_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="format 'jpeg' can't be decoded"):
        decode(CompressedImage(format="jpeg", data=array.array("B", data)))


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_half_a_file_is_refused(kind: str) -> None:
    message = file(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), kind, kind)
    message.data = message.data[: len(message.data) // 2]
    with pytest.raises(ImageError, match="expected a whole JPEG or PNG"):
        decode(message)


def png_of(width: int, height: int) -> bytes:
    """A file of few bytes that claims to be so large."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(9))))
    parts = [
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in (*chunks, (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg_of(width: int, height: int) -> bytes:
    """Likewise: a small file whose frame header was changed."""
    data = bytearray(cv2.imencode(".jpg", PICTURE)[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    "data", [png_of(60000, 60000), png_of(8000, 8000), png_of(2**31 - 1, 1), jpeg_of(65000, 65000), jpeg_of(9000, 9000)]
)
def test_a_small_file_that_claims_a_huge_image_is_refused_before_it_is_decoded(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[object] = []
    monkeypatch.setattr(cv2, "imdecode", lambda *arguments: decoded.append(arguments))
    with pytest.raises(ImageError, match="absurd size") as refusal:
        decode(CompressedImage(format="png", data=array.array("B", data)))
    assert decoded == []
    assert "\n" not in str(refusal.value)
