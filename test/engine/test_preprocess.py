"""Images and actions at the engine's two ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vla_entropy_ros.engine import ActionError, CheckpointError, Policy
from vla_entropy_ros.engine.actions.tokens import ActionSpace
from vla_entropy_ros.engine.model.crop import centre_crop, lanczos
from vla_entropy_ros.engine.reuse.patches import cut, grey

from .conftest import DATA

LIMITS = [0.03] * 6
STATISTICS = {"arm": {"action": {"q01": [-0.03] * 6 + [0.0], "q99": [*LIMITS, 1.0], "mask": [True] * 6 + [False]}}}


def test_libero_preparation_is_that_of_its_fine_tunes() -> None:
    with np.load(DATA / "centre_crop.npz") as stored:
        data = dict(stored)
    for made, kept in ((centre_crop(data["image"]), "cropped_rows"), (lanczos(data["camera"], 224), "lanczos_rows")):
        np.testing.assert_array_equal(made[::8], data[kept])


def test_centre_crop_is_an_option_of_loading(small_folder: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 120, 3), np.uint8)
    plain, cropped = (Policy.load(small_folder, preprocess=kind).model.preprocess for kind in ("resize", "centre_crop"))
    np.testing.assert_array_equal(cropped.frames([image])[0], centre_crop(lanczos(image, 56)))
    assert np.abs(plain.frames([image]).astype(int) - cropped.frames([image])).max() > 0


def test_patches_are_in_raster_order() -> None:
    image = np.random.default_rng(0).integers(0, 256, (42, 42, 3), np.uint8)
    parts = cut(np.stack((image[::-1], image)), 14)[9:]  # of the second camera
    assert parts.shape == (9, 588)
    np.testing.assert_array_equal(parts[5].reshape(14, 14, 3), image[14:28, 28:42])
    levels = grey(cut(np.stack((image, image)), 14).astype(np.float32))
    assert levels.shape == (18, 196)
    whole = np.asarray(Image.fromarray(image).convert("L"))
    np.testing.assert_array_equal(levels[9 + 4], whole[14:28, 14:28].ravel())


def test_grey_levels_are_those_of_pillow() -> None:
    steps = np.arange(0, 256, 5).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 52, 3)
    expected = np.asarray(Image.fromarray(colours).convert("L"))
    np.testing.assert_array_equal(grey(colours.reshape(len(colours), -1).astype(np.float32)), expected)


def test_actions_are_bin_centres_in_si_units() -> None:
    space = ActionSpace(320, STATISTICS, None)
    (low,) = space.decode([319] * 7)
    (high,) = space.decode([64] * 7)
    centre = 1 - 1 / 255  # of the outermost bin
    np.testing.assert_allclose(low[:6], -0.03 * centre)
    np.testing.assert_allclose(high[:6], 0.03 * centre)
    assert (low[6], high[6]) == (pytest.approx(-centre), pytest.approx(centre))  # not scaled
    with pytest.raises(ActionError, match="64 to 319"):
        space.decode([320] + [64] * 6)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ({"q01": [0.0] * 6, "q99": [1.0] * 6}, "6 action dimensions: valid is 7"),
        ({"q99": [1.0] * 7}, "lack action.q01"),
        ({"q01": [2.0] * 7, "q99": [1.0] * 7}, "no ranges"),
        ({"q01": [float("nan")] * 7, "q99": [1.0] * 7}, "no ranges"),
    ],
)
def test_unusable_statistics_are_refused(action: dict[str, list[float]], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        ActionSpace(320, {"arm": {"action": action}}, "arm")
