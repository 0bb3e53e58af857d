"""Raw images: every encoding, padding and byte order to RGB, and what is refused."""

from __future__ import annotations

import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vla_entropy_ros.images import ENCODINGS, ImageError, decode, read
from vla_entropy_ros.images.encodings import ALIASES, NAMES
from vla_entropy_ros.images.picture import MAX_PIXELS

from .sent import mosaic, packed, planar, scene, sent

CHANNELS = {"rgb": (0, 1, 2), "bgr": (2, 1, 0), "rgba": (0, 1, 2), "bgra": (2, 1, 0), "mono": (0, 0, 0)}  # of R, G, B
BITS = {8: np.uint8, 16: np.uint16}
PATTERNS = ("rggb", "bggr", "gbrg", "grbg")


@settings(max_examples=80, deadline=None)
@given(
    order=st.sampled_from(sorted(CHANNELS)),
    bits=st.sampled_from(sorted(BITS)),
    big=st.booleans(),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 5),
    seed=st.integers(0, 999),
)
def test_pixels_of_any_order_depth_and_padding_decode_to_rgb(
    order: str, bits: int, big: bool, height: int, width: int, padding: int, seed: int
) -> None:
    channels = 1 if order == "mono" else len(order)
    pixels = np.random.default_rng(seed).integers(0, 2**bits, (height, width, channels), BITS[bits])
    wire = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    expected = pixels[..., CHANNELS[order]]
    if bits == 16:
        expected = np.round(expected / 257).astype(np.uint8)  # 65535 is white
    message = sent(f"{order}{bits}", wire.reshape(height, -1), height, width, padding, big)
    np.testing.assert_array_equal(decode(message), expected)


@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")]
)
def test_a_webcams_yuv_has_its_colours_under_old_and_new_names(encoding: str, order: str) -> None:
    picture = scene(6, 12)
    check(decode(sent(encoding, packed(picture, order), 6, 12, padding=8)), picture)


@pytest.mark.parametrize(("encoding", "order", "every"), [("nv12", "uv", 2), ("nv21", "vu", 2), ("nv24", "uv", 1)])
def test_planes_have_their_colours(encoding: str, order: str, every: int) -> None:
    picture = scene(6, 12)
    rows = planar(picture, order, every)
    check(decode(sent(encoding, rows, 6, 12)), picture)
    if ENCODINGS[encoding].padded:
        check(decode(sent(encoding, rows, 6, 12, padding=4)), picture)


def check(decoded: NDArray[np.uint8], picture: NDArray[np.uint8]) -> None:
    """The colours, to what Y, U and V in whole numbers leave of them."""
    assert decoded.shape == picture.shape
    assert np.abs(decoded.astype(int) - picture).max() <= 3


@pytest.mark.parametrize("bits", sorted(BITS))
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_mosaic_has_the_colours_that_were_before_the_sensor(pattern: str, bits: int) -> None:
    picture = scene(12, 25)  # an odd width, too
    scaled = picture.astype(np.uint16) * 257 if bits == 16 else picture
    for big in (False, True):
        rows = mosaic(scaled, pattern)
        rows = rows.astype(rows.dtype.newbyteorder(">" if big else "<"))
        decoded = decode(sent(f"bayer_{pattern}{bits}", rows, 12, 25, padding=3, big=big))
        for part in (slice(0, 10), slice(14, 25)):  # on either side of the edge
            np.testing.assert_array_equal(decoded[:, part], picture[:, part])


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_a_second_name_is_the_same_encoding(name: str) -> None:
    encoding = ENCODINGS[ALIASES[name]]
    size = 4 * encoding.samples * encoding.depth
    rows = np.random.default_rng(0).integers(0, 256, (4, size), np.uint8)
    np.testing.assert_array_equal(decode(sent(name, rows, 4, 4)), decode(sent(ALIASES[name], rows, 4, 4)))


def test_three_numbers_without_an_order_are_blue_green_red() -> None:
    rows = np.array([[1, 2, 3]], np.uint8)
    assert decode(sent("8UC3", rows, 1, 1)).tolist() == [[[3, 2, 1]]]


def test_sixteen_bits_of_anything_are_taken_for_grey_with_a_doubt() -> None:
    rows = np.array([[0, 65535]], np.uint16)
    assert "if they are of depth" in (read(sent("16UC1", rows, 1, 2)).doubt or "")
    assert read(sent("mono16", rows, 1, 2)).doubt is None
    assert decode(sent("16UC1", rows, 1, 2))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("name", NAMES)
def test_the_last_row_needs_no_padding_and_not_a_byte_may_lack(name: str) -> None:
    encoding = ENCODINGS[ALIASES.get(name, name)]
    size, rows = 4 * encoding.samples * encoding.depth, 4 * encoding.rows // 2
    padding = 6 if encoding.padded else 0
    message = sent(name, np.random.default_rng(0).integers(0, 256, (rows, size), np.uint8), 4, 4, padding)
    whole = decode(message)
    assert whole.shape == (4, 4, 3)
    assert whole.dtype == np.uint8
    assert whole.flags.c_contiguous
    message.data = message.data[: len(message.data) - padding]
    np.testing.assert_array_equal(decode(message), whole)
    message.data = message.data[:-1]
    with pytest.raises(ImageError, match=f"image with .* bytes: 4 x 4 {name} needs "):
        decode(message)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoding": "yuv9"}, "unknown encoding 'yuv9': valid are rgb8, "),
        ({"encoding": ""}, "unknown encoding ''"),
        ({"encoding": "two\nlines"}, r"unknown encoding 'two\nlines'"),
        ({"encoding": "x" * 9999}, f"unknown encoding '{'x' * 60}...': valid"),
        ({"encoding": "32FC1"}, "'32FC1' is no picture but numbers, such as depth or disparity: give the topic of the"),
        ({"encoding": "16SC1"}, "'16SC1' is no picture"),
        ({"encoding": "8UC2"}, "'8UC2' is no picture"),
        ({"encoding": "64FC4"}, "'64FC4' is no picture"),
        ({"width": 0}, "zero size: 0 x 2, expected at least 1 x 1: check the camera's driver"),
        ({"height": 0}, "zero size: 3 x 0"),
        (
            {"height": 2**32 - 1, "width": 2**32 - 1, "step": 2**32 - 1},
            "absurd size: 4294967295 x 4294967295, expected",
        ),
        ({"height": MAX_PIXELS, "width": 2}, "absurd size"),
        ({"step": 8}, "rows of 8 bytes (step): 3 pixels of rgb8 need 9"),
        ({"step": 0}, "rows of 0 bytes (step)"),
        ({"height": 3}, "18 bytes: 3 x 3 rgb8 needs 27"),
        ({"data": array.array("B")}, "0 bytes"),
        ({"encoding": "yuyv"}, "image of 3 x 2: yuyv needs a width that can be halved"),
        ({"encoding": "yuv422"}, "image of 3 x 2: yuv422 needs a width that can be halved"),
        (
            {"encoding": "nv12", "height": 3, "width": 2},
            "image of 2 x 3: nv12 needs width and height that can be halved",
        ),
        ({"encoding": "nv24"}, "rows of 9 bytes (step): 3 pixels of nv24 need 3"),
        ({"encoding": "bayer_rggb8"}, "image of 3 x 2: bayer_rggb8 needs at least 3 x 3"),
        ({"encoding": "rgb16"}, "rows of 9 bytes (step): 3 pixels of rgb16 need 18"),
    ],
)
def test_an_unreadable_image_is_refused_in_one_line(change: dict[str, object], said: str) -> None:
    message = sent("rgb8", np.zeros((2, 9), np.uint8), 2, 3)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ImageError) as refusal:
        decode(message)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_image_of_the_wires_own_bytes_is_not_copied() -> None:
    message = sent("rgb8", np.zeros((4, 12), np.uint8), 4, 4)
    assert np.shares_memory(decode(message), np.frombuffer(message.data, np.uint8))
