"""Several cameras: a grid each, one budget for all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vla_entropy_ros.engine import CheckpointError, Observation, ObservationError, Policy
from vla_entropy_ros.engine.tunables import Tunables

from .conftest import write_small

PICK = "pick up the red cube"


def two_cameras(folder: Path, cameras: object = 2) -> Path:
    write_small(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_images_in_input": cameras}))
    return folder


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    made = Policy.load(two_cameras(tmp_path / "checkpoint"))
    made.set_tunables(replace(Tunables.default(32), mode="info_entropy", k1=2, k2=4, row_budget=0))
    return made


def views(seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (2, 56, 56, 3), np.uint8))


def test_every_camera_has_its_own_tokens(policy: Policy) -> None:
    assert (policy.info.cameras, policy.info.visual_tokens, policy.info.grid) == (2, 32, (4, 4))
    front, wrist = views()
    first = policy.infer(Observation((front, wrist), PICK, 0.0))
    policy.settle()
    assert first.reuse.fresh == 32
    moved = wrist.copy()
    moved[14:28, 28:42] = 0  # patch 1, 2 of the second camera
    second = policy.infer(Observation((front, moved), PICK, 0.1))
    assert second.reuse.static == 31
    assert not second.reuse.static_mask[16 + 4 + 2]
    assert second.reuse.by_visual == second.reuse.k_vis == 4  # of both cameras together
    assert second.reuse.fresh <= 1 + 2 + 4


def test_cameras_are_not_interchangeable(policy: Policy) -> None:
    front, wrist = views()
    entropies = []
    for images in ((front, wrist), (wrist, front)):
        policy.reset()
        entropies.append(policy.infer(Observation(images, PICK, 0.0)).token_entropy)
    assert np.abs(entropies[0] - entropies[1]).max() > 0


def test_a_still_scene_reuses_without_changing_tokens(policy: Policy) -> None:
    images = tuple(views())
    first = policy.infer(Observation(images, PICK, 0.0))
    policy.settle()
    again = policy.infer(Observation(images, PICK, 0.1))
    np.testing.assert_array_equal(first.tokens, again.tokens)
    assert again.reuse.reused > 20


def test_a_change_of_one_cameras_size_begins_anew(policy: Policy) -> None:
    front, wrist = views()
    policy.infer(Observation((front, wrist), PICK, 0.0))
    large = np.zeros((80, 80, 3), np.uint8)
    assert policy.infer(Observation((front, large), PICK, 0.1)).reuse.reason == "image size changed"


def test_a_wrong_number_of_cameras_is_refused(policy: Policy) -> None:
    front, _ = views()
    for images in ((front,), (front,) * 3):  # fewer, and more
        with pytest.raises(ObservationError) as caught:
            policy.infer(Observation(images, PICK, 0.0))
        assert str(caught.value) == f"expected a tuple of 2 camera image(s), got {len(images)} images"


@pytest.mark.parametrize("cameras", [0, 9, "two", True])
def test_an_impossible_number_of_cameras_is_refused(tmp_path: Path, cameras: object) -> None:
    with pytest.raises(CheckpointError, match="valid are 1 to 8"):
        Policy.load(two_cameras(tmp_path / "checkpoint", cameras))
