"""What has changed in a picture, under noise and light that no threshold was set for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vla_entropy_ros.engine.reuse.scene import Scene

Frames = NDArray[np.uint8]
GRID, SIDE = 16, 224
EVERY = np.ones(GRID * GRID, np.bool_)


def picture(seed: int = 0) -> Frames:
    """A table with soft shading and things on it [1, S, S, 3]."""
    random = np.random.default_rng(seed)
    image = np.zeros((SIDE, SIDE, 3), np.float32)
    image[:] = np.linspace(70, 170, SIDE)[None, :, None] + random.uniform(-20, 20, 3)
    for _ in range(12):
        row, column, size = (int(value) for value in random.integers((0, 0, 16), (190, 190, 40)))
        image[row : row + size, column : column + size] = random.uniform(30, 220, 3)
    return np.clip(image, 0, 255).astype(np.uint8)[None]


def noisy(frames: Frames, sigma: float, seed: int) -> Frames:
    random = np.random.default_rng(seed)
    return np.clip(np.rint(frames + random.normal(0, sigma, frames.shape)), 0, 255).astype(np.uint8)


def lit(frames: Frames, gain: float, offset: float = 0.0) -> Frames:
    return np.clip(np.rint(frames * gain + offset), 0, 255).astype(np.uint8)


def moved(frames: Frames) -> tuple[Frames, NDArray[np.bool_]]:
    """Something of the size of nine patches has come; the patches [N] it covers."""
    changed = frames.copy()
    changed[:, 56:98, 70:112] = (200, 30, 40)
    where = np.zeros((GRID, GRID), np.bool_)
    where[4:7, 5:8] = True
    return changed, where.ravel()


def begun(frames: Frames) -> Scene:
    scene = Scene(len(frames), GRID)
    assert not scene.compare(frames).static.any()
    scene.commit(np.ones(len(frames) * GRID**2, np.bool_))
    return scene


@pytest.mark.parametrize("sigma", [0.0, 2.0, 6.0, 10.0, 15.0])
def test_noise_is_no_change_and_is_measured(sigma: float) -> None:
    scene = begun(noisy(picture(), sigma, 1))
    for seed in range(2, 8):
        seen = scene.compare(noisy(picture(), sigma, seed))
        assert seen.static.mean() > 0.98
        assert seen.noise == pytest.approx(sigma, rel=0.25, abs=0.5)
        assert seen.exposure == pytest.approx(1.0, abs=0.02)
        scene.commit(~seen.static)


@pytest.mark.parametrize("sigma", [0.0, 6.0, 10.0])
def test_what_has_come_is_found_under_noise(sigma: float) -> None:
    scene = begun(noisy(picture(), sigma, 1))
    frames, where = moved(picture())
    static = scene.compare(noisy(frames, sigma, 2)).static
    assert not static[where].any()
    assert static[~where].mean() > 0.98


def test_exposure_that_drifts_is_no_change_and_is_measured() -> None:
    """Gain 1 +- 20 % over 25 pictures, noise of 3 grey levels; a patch keeps its reference for up to 20 of them."""
    scene = begun(noisy(picture(), 3.0, 0))
    for tick in range(1, 60):
        gain = 1 + 0.2 * np.sin(2 * np.pi * tick / 25)
        seen = scene.compare(noisy(lit(picture(), gain), 3.0, tick))
        assert seen.static.mean() > 0.95, tick
        assert seen.exposure == pytest.approx(gain, abs=0.05)
        scene.commit(np.arange(256) % 20 == tick % 20)


def test_flicker_is_no_change() -> None:
    scene = begun(picture())
    for tick in range(1, 40):
        seen = scene.compare(noisy(lit(picture(), 1 + 0.05 * (-1) ** tick), 2.0, tick))
        assert seen.static.mean() > 0.98
        scene.commit(np.arange(256) % 20 == tick % 20)


def test_a_jpeg_of_low_quality_is_no_change() -> None:
    def coded(tick: int) -> Frames:
        frame = noisy(picture(), 2.0, tick)[0]
        decoded = cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)
        return np.asarray(decoded, np.uint8)[None]

    scene = begun(coded(0))
    for tick in range(1, 10):
        assert scene.compare(coded(tick)).static.mean() > 0.97
        scene.commit(~EVERY)


OTHER = {
    "another picture": picture(7),
    "black": np.zeros_like(picture()),
    "white": np.full_like(picture(), 255),
    "upside down": picture()[:, ::-1, ::-1],
    "negative": 255 - picture(),
    "the light goes on": lit(picture(), 1.6),
    "noise": np.random.default_rng(0).integers(0, 256, picture().shape, np.uint8),
}


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("sigma", [0.0, 8.0])
def test_another_scene_is_a_change_however_noisy(name: str, sigma: float) -> None:
    scene = begun(noisy(picture(), sigma, 1))
    scene.compare(noisy(picture(), sigma, 2))
    scene.commit(~EVERY)
    assert scene.compare(noisy(OTHER[name], sigma, 3)).static.mean() < 0.4


def test_what_changes_slowly_is_seen_against_what_was_computed() -> None:
    scene = begun(picture())
    frames = picture().astype(np.float32)
    for _ in range(11):
        frames[:, 56:98, 70:112] += 1.5  # less than counts from one picture to the next
        seen = scene.compare(frames.clip(0, 255).astype(np.uint8))
        scene.commit(~EVERY)
    assert not seen.static.reshape(GRID, GRID)[4:7, 5:8].any()


def test_each_camera_has_its_own_light() -> None:
    both = np.concatenate((picture(1), picture(2)))
    scene = begun(both)
    both[0] = lit(both[:1], 1.15)[0]
    seen = scene.compare(both)
    assert seen.static.mean() > 0.97
    assert seen.exposure == pytest.approx(1.075, abs=0.02)


def test_an_episode_begins_with_its_own_light() -> None:
    scene = begun(picture())
    scene.compare(lit(picture(), 1.2))
    scene.commit(EVERY)
    scene.forget()
    assert not scene.compare(picture()).static.any()
    scene.commit(EVERY)
    seen = scene.compare(picture())
    assert seen.static.all()
    assert seen.exposure == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("patch", [14, 15])  # cells of 7 pixels, and of 7 and a half
def test_cells_are_means_of_their_pixels(patch: int) -> None:
    random, side = np.random.default_rng(0), 4 * patch
    frame = random.integers(0, 256, (1, side, side, 3), np.uint8)
    scene = Scene(1, 4)
    scene.compare(frame)
    assert scene._cells is not None
    means = frame.reshape(4, patch, 4, patch, 3).mean((1, 3))
    np.testing.assert_allclose(scene._cells.reshape(4, 4, 4, 3).mean(2), means, atol=1e-3)
    if not patch % 2:
        cells = frame.reshape(4, 2, 7, 4, 2, 7, 3).mean((2, 5)).swapaxes(1, 2)  # row, column of patches, then of cells
        np.testing.assert_allclose(scene._cells.reshape(4, 4, 2, 2, 3), cells, atol=1e-3)


def test_image_entropy_is_of_the_patches_asked_for_of_all_cameras() -> None:
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    frames[1, 14:28, 28:42] = 90  # row 1, column 2 of the second camera
    scene = begun(frames)
    flat = GRID**2 + GRID + 2
    entropy = scene.image_entropy(np.array([3, flat, 2 * GRID**2 - 1]))
    assert entropy[1] == 0.0
    counts = np.bincount(cv2.cvtColor(frames[1, -14:, -14:].copy(), cv2.COLOR_RGB2GRAY).ravel()) / 196
    expected = -(counts[counts > 0] * np.log(counts[counts > 0])).sum() / np.log(196)
    assert entropy[2] == pytest.approx(expected)
