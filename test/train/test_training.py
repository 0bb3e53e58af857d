"""Demonstrations are deterministic, training learns and resumes, the export is a loadable OpenVLA-layout folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vla_entropy_ros.engine import Observation, Policy
from vla_entropy_ros.sim import COLOURS, TASKS
from vla_entropy_ros.train.demonstrations import Demonstrations, collect, record
from vla_entropy_ros.train.export import export
from vla_entropy_ros.train.network import LAST_ACTION_ID, SmallPolicy
from vla_entropy_ros.train.settings import Recipe
from vla_entropy_ros.train.tokenizer import build_tokenizer
from vla_entropy_ros.train.trainer import Trainer

RECIPE = Path(__file__).parents[2] / "config" / "train.yaml"
SCALE = 0.03


@pytest.fixture(scope="module")
def data() -> Demonstrations:
    return record(seed=7, count=64, size=112, scale=SCALE, noise=1.0)


@pytest.fixture(scope="module")
def tiny() -> Recipe:
    recipe = Recipe.load(RECIPE, width=32, tower_depth=1, stem_width=8, decoder_depth=1, heads=2, mlp_width=48)
    return replace(recipe, batch=8, demonstrations=64, rounds=1, round_images=16, steps=30, round_steps=6)


def test_demonstrations_label_every_cube_in_sight(data: Demonstrations) -> None:
    absent = np.isnan(data.actions).any(-1)
    assert (absent.sum(axis=1) == 1).all()  # three of the four cubes are on the table
    present = data.actions[~absent]
    assert np.abs(present[:, :3]).max() <= SCALE + 1e-6
    assert set(np.unique(present[:, 6])) <= {0.0, 1.0}


def test_demonstrations_depend_on_the_seed_alone(data: Demonstrations) -> None:
    one = collect(7, 64, 112, SCALE, 1.0, processes=1, part=32)
    two = collect(7, 64, 112, SCALE, 1.0, processes=2, part=32)
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.actions, two.actions)
    np.testing.assert_array_equal(one.images[:32], data.images[:32])


def test_bins_are_those_of_openvla(tiny: Recipe) -> None:
    policy = SmallPolicy(tiny)
    edges = np.linspace(-1, 1, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    action = torch.tensor(np.linspace(-SCALE, SCALE, 91)[:, None].repeat(7, 1))
    bins, _ = policy.bins(action)
    value = centres[bins[:, 0].numpy()] * SCALE
    assert np.abs(value - action[:, 0].numpy()).max() <= SCALE / 255 + 1e-9


def test_branches_do_not_see_each_other(tiny: Recipe, data: Demonstrations) -> None:
    torch.manual_seed(0)
    policy = SmallPolicy(tiny).eval()
    pixels = torch.from_numpy(data.images[:2].copy()).permute(0, 3, 1, 2).float() / 255
    visual = policy.visual_tokens(pixels)
    text = policy.prompts[None].expand(2, -1, -1)
    bins = torch.randint(0, 255, (2, len(COLOURS), 7))
    other = bins.clone()
    other[:, 1:] = torch.randint(0, 255, (2, len(COLOURS) - 1, 7))
    torch.testing.assert_close(policy._branches(visual, text, bins)[:, 0], policy._branches(visual, text, other)[:, 0])


def test_training_learns_stops_and_goes_on(tiny: Recipe, tmp_path: Path) -> None:
    first = Trainer(tiny, tmp_path, "cpu", processes=1)
    demonstrations = first._data(0)
    first._train([demonstrations], 20)
    resumed = Trainer(tiny, tmp_path, "cpu", processes=1)
    assert resumed.step == 20
    for one, other in zip(first.policy.parameters(), resumed.policy.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    batch = next(resumed._batches([demonstrations]))
    before = resumed.policy.loss(*batch)[0].item()
    resumed.run()
    assert resumed.step == tiny.steps + tiny.round_steps
    assert resumed.policy.loss(*batch)[0].item() < before
    assert (tmp_path / "policy.pt").exists()


def test_export_is_an_openvla_folder_with_the_same_actions(tiny: Recipe, data: Demonstrations, tmp_path: Path) -> None:
    torch.manual_seed(3)
    trained = SmallPolicy(tiny).eval()
    head = trained.language_model.lm_head.weight.data  # the action ids win, whatever the image
    head[: LAST_ACTION_ID - 255] = 0.0
    head[LAST_ACTION_ID + 1 :] = 0.0
    folder = export(trained, tmp_path / "checkpoint", images=64)
    config = json.loads((folder / "config.json").read_text())
    assert config["text_config"]["vocab_size"] - config["pad_to_multiple_of"] - 1 == LAST_ACTION_ID
    engine = Policy.load(folder)
    for number, task in enumerate(TASKS.values()):
        image = data.images[10 * number]
        result = engine.infer(Observation((image,), task.instruction, stamp=0.1 * number))
        np.testing.assert_allclose(result.actions, trained.act(image[None], [task.instruction]), atol=1e-7)
        engine.reset()


def test_tokenizer_ignores_the_prompt_around_the_instruction() -> None:
    tokenizer = build_tokenizer()
    plain = tokenizer.encode("pick up the red cube")
    asked = tokenizer.encode("In: What action should the robot take to pick up the red cube?\nOut:")
    assert plain.ids == asked.ids
    assert plain.tokens == ["<s>", "pick", "up", "the", "red", "cube"]
    assert tokenizer.encode("juggle").tokens == ["<s>", "<unk>"]


def test_unknown_recipe_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.read_text() + "epochs: 3\n")
    with pytest.raises(ValueError, match=r"unknown or missing keys epochs; valid are .*batch"):
        Recipe.load(path)
