"""A large image is resized quickly, and as Pillow does it to within one grey level; a small one to the bit."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vla_entropy_ros.engine.model import resize
from vla_entropy_ros.engine.model.resize import LARGE, QUICK, bicubic

Pixels = NDArray[np.uint8]
only_quick = pytest.mark.skipif(not QUICK, reason="torch has no kernels for this processor: Pillow resizes everything")
SHAPES = (  # height, width, size
    (480, 640, 224), (720, 1280, 224), (1080, 1920, 224), (1080, 1920, 384), (1200, 1600, 336), (513, 512, 224),
    (1920, 1080, 224), (1920, 1080, 384), (1036, 333, 224), (899, 364, 384), (333, 1036, 224), (230, 9000, 224),
    (4000, 400, 384), (60, 9000, 56), (700, 701, 378), (1, 300000, 56), (300000, 1, 56),
)  # fmt: skip


def pillow(image: Pixels, size: int) -> Pixels:
    """The reference."""
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))


def pictures(height: int, width: int) -> Iterator[Pixels]:
    """Noise, only black and white, ramps, and soft shapes with a sensor's noise as a camera has them."""
    random = np.random.default_rng(height * width)
    noise = random.integers(0, 256, (height, width, 3), np.uint8)
    yield noise
    yield np.where(noise < 128, 0, 255).astype(np.uint8)
    rows, columns = np.mgrid[:height, :width]
    ramps = (columns * 255 // max(width - 1, 1), rows * 255 // max(height - 1, 1), (rows + columns) % 256)
    yield np.stack(ramps, -1).astype(np.uint8)
    soft = cv2.GaussianBlur(noise, (0, 0), 4.0).astype(float)
    yield np.clip((soft - 128) * 12 + 128 + random.normal(0, 2, noise.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("height", "width", "size"), SHAPES)
def test_a_large_image_is_pillows_to_within_one_level(height: int, width: int, size: int) -> None:
    for image in pictures(height, width):
        made = bicubic(image, size)
        assert (made.shape, str(made.dtype)) == ((size, size, 3), "uint8")
        assert np.abs(made.astype(int) - pillow(image, size)).max() <= 1


@only_quick
def test_a_grid_of_hard_edges_is_pillows_to_within_two_levels() -> None:
    """Where every row of pixels is the same half a level away from a whole one, torch and Pillow may round apart."""
    rows, columns = np.mgrid[:1080, :1920]
    grid = np.where((((columns + 18) // 17 + (rows + 32) // 33) % 2)[..., None], 255, 0).astype(np.uint8).repeat(3, 2)
    apart = np.abs(bicubic(grid, 224).astype(int) - pillow(grid, 224))
    assert apart.max() <= 2
    assert np.mean(apart > 1) < 0.01


@pytest.mark.parametrize("shape", [(256, 256), (224, 224), (100, 120), (512, 512), (1, 1), (30, 8000), (223, 2000)])
def test_an_image_that_is_small_or_narrow_is_pillows_to_the_bit(shape: tuple[int, int]) -> None:
    assert shape[0] * shape[1] <= LARGE or min(shape) < 224
    for image in pictures(*shape):
        np.testing.assert_array_equal(bicubic(image, 224), pillow(image, 224))


def test_where_torch_is_slow_pillow_resizes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resize, "QUICK", False)
    image = next(pictures(720, 1280))
    np.testing.assert_array_equal(bicubic(image, 224), pillow(image, 224))


def test_views_and_images_that_may_not_be_written_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    image = next(pictures(600, 800))
    expected = bicubic(image, 224)
    locked = image.copy()
    locked.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for view in (locked, np.pad(image, ((0, 0), (0, 8), (0, 0)))[:, :800], image[::-1][::-1]):
            np.testing.assert_array_equal(bicubic(view, 224), expected)


@only_quick
def test_a_full_hd_image_costs_less_than_half_of_what_it_costs_pillow() -> None:
    image = next(pictures(1080, 1920))
    taken = {pillow: [0.0] * 7, bicubic: [0.0] * 7}
    for number in range(7):
        for function, times in taken.items():
            began = time.perf_counter()
            function(image, 224)
            times[number] = time.perf_counter() - began
    assert min(taken[bicubic]) < min(taken[pillow]) / 2
