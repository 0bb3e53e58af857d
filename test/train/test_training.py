"""Demonstrations are deterministic, training learns and resumes, the export is a loadable OpenVLA-layout folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_map

from vla_entropy_ros.engine import Observation, Policy
from vla_entropy_ros.sim import COLOURS, GOALS
from vla_entropy_ros.sim.expert import CAGE, LEVELS
from vla_entropy_ros.sim.tasks import SKILLS
from vla_entropy_ros.train.demonstrations import PLACED, Demonstrations, collect, record
from vla_entropy_ros.train.export import export
from vla_entropy_ros.train.network import LAST_ACTION_ID, Batch, SmallPolicy
from vla_entropy_ros.train.recipe import Recipe
from vla_entropy_ros.train.tokenizer import build_tokenizer
from vla_entropy_ros.train.trainer import Trainer, _colours, default_processes

RECIPE = Path(__file__).parents[2] / "config" / "train.yaml"
SCALE, SIZE = 0.03, 56
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data() -> Demonstrations:
    return record(seed=7, count=64, size=SIZE, scale=SCALE, noise=1.0)


@pytest.fixture(scope="module")
def tiny() -> Recipe:
    recipe = Recipe.load(RECIPE, width=32, tower_depth=1, stem_width=8, decoder_depth=1, heads=2, mlp_width=48)
    small = replace(recipe, image_size=SIZE, tokens=12, batch=8, demonstrations=64, round_images=16)
    return replace(small, steps=30, round_steps=(6,), last_steps=4)


def pixels(data: Demonstrations, count: int) -> torch.Tensor:
    """The first images as the network takes them."""
    return torch.from_numpy(data.images[:count].copy()).permute(0, 3, 1, 2).float() / 255


def test_demonstrations_label_every_goal_that_is_in_sight(data: Demonstrations) -> None:
    absent = np.isnan(data.actions).any(-1).reshape(len(data), len(SKILLS), len(COLOURS))
    assert (absent.sum(axis=2) == 1).all()  # three of the four cubes are on the table
    assert (absent == absent[:, :1]).all()  # for all skills alike
    present = data.actions[~np.isnan(data.actions).any(-1)]
    speeds = np.unique(np.abs(present[:, :3]).round(6))
    assert set(speeds) <= {0.0, *(np.float32(SCALE / 2**level).round(6) for level in range(LEVELS))}
    assert set(np.unique(present[:, 6])) <= {0.0, 1.0}
    assert not np.isnan(data.actions[np.arange(len(data)), data.goal]).any()


def test_the_images_at_the_cube_are_those_where_only_the_side_of_a_push_matters(data: Demonstrations) -> None:
    at_cube = set(data.at_cube.tolist())
    assert 0 < len(at_cube) < len(data) / 2
    tool, cubes = data.places[:, PLACED - 1], data.places[np.arange(len(data)), data.goal % len(COLOURS)]
    for number in range(len(data)):
        near = np.abs(cubes[number] - tool[number]) < CAGE
        assert (number in at_cube) == bool(near.all() and data.opening[number] > 0.8)


def test_both_sides_of_a_push_are_trained_on_with_the_same_cube(data: Demonstrations) -> None:
    rng = np.random.default_rng(0)
    for goal in range(len(GOALS)):
        drawn = np.stack([_colours(data.actions[0], goal, rng) for _ in range(40)])
        skill, colour = divmod(goal, len(COLOURS))
        assert (drawn[:, 2] == drawn[:, 3]).all()
        assert (drawn[:, skill] == colour).mean() > 0.5
        assert len(np.unique(drawn[:, skill])) > 1  # other cubes, too


def test_words_begin_as_large_as_what_they_are_to_be_heard_beside(tiny: Recipe, data: Demonstrations) -> None:
    torch.manual_seed(0)
    policy = SmallPolicy(tiny).eval()
    words = policy.language_model.embed(policy.prompts("push_left")).norm(dim=-1).mean()
    assert words > 0.5 * policy.visual_tokens(pixels(data, 2)).norm(dim=-1).mean()


def test_demonstrations_depend_on_the_seed_alone(data: Demonstrations, tmp_path: Path) -> None:
    one, two = (
        Demonstrations.load(*collect(tmp_path / str(n), 7, 64, SIZE, SCALE, 1.0, processes=n, part=32)) for n in (1, 2)
    )
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.actions, two.actions)
    np.testing.assert_array_equal(one.images[:32], data.images[:32])


def test_recording_goes_on_with_the_parts_that_are_missing(tmp_path: Path) -> None:
    folders = collect(tmp_path, 7, 24, SIZE, SCALE, 1.0, processes=1, part=8)
    before = [(folder / "images.npy").stat().st_mtime_ns for folder in folders]
    shutil.rmtree(folders[1])
    told: list[int] = []
    assert collect(tmp_path, 7, 24, SIZE, SCALE, 1.0, processes=1, part=8, progress=told.append) == folders
    after = [(folder / "images.npy").stat().st_mtime_ns for folder in folders]
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1] > before[1]
    assert sum(told) == 24


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
    visual = policy.visual_tokens(pixels(data, 2))
    text = [policy.prompts(skill)[:2] for skill in SKILLS]
    bins = torch.randint(0, 255, (2, len(SKILLS), 7))
    other = bins.clone()
    other[:, 1:] = torch.randint(0, 255, (2, len(SKILLS) - 1, 7))
    one, two = (policy.branches(visual, None, text, chosen)[0][:, 0] for chosen in (bins, other))
    torch.testing.assert_close(one, two)


def test_tokens_near_objects_are_always_trained_on(tiny: Recipe, data: Demonstrations) -> None:
    policy = SmallPolicy(tiny)
    points = torch.from_numpy(data.points[:32].copy())
    kept = policy._near_objects(points, tiny.tokens)
    assert (kept.diff(dim=1) > 0).all()
    cell = (points.nan_to_num() * policy.side).floor().long()
    own = cell[..., 1] * policy.side + cell[..., 0]
    seen = ~points.isnan().any(-1)
    for n in range(32):
        assert torch.isin(own[n][seen[n]], kept[n]).all()


def test_leaving_no_token_out_changes_nothing(tiny: Recipe, data: Demonstrations) -> None:
    policy = SmallPolicy(tiny).eval()
    everything = torch.arange(policy.side**2).expand(2, -1)
    torch.testing.assert_close(policy.visual_tokens(pixels(data, 2), everything), policy.visual_tokens(pixels(data, 2)))


def test_training_learns_stops_and_goes_on(tiny: Recipe, tmp_path: Path) -> None:
    first = Trainer(tiny, tmp_path, CPU, processes=1)
    demonstrations = first._data(0)
    first._train([demonstrations], 20, tiny.tokens)
    resumed = Trainer(tiny, tmp_path, CPU, processes=1)
    assert resumed.step == 20
    for one, other in zip(first.policy.parameters(), resumed.policy.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    batch = next(resumed._batches([demonstrations]))
    before = resumed.policy.loss(batch)[0].item()
    resumed.run()
    assert resumed.step == tiny.total_steps == 40
    assert resumed.policy.loss(batch)[0].item() < before
    assert (tmp_path / "policy.pt").exists()


@pytest.mark.parametrize("tokens", [12, None])
def test_a_step_waits_for_nothing_of_its_device(
    tokens: int | None, tiny: Recipe, data: Demonstrations, tmp_path: Path
) -> None:
    trainer = Trainer(tiny, tmp_path, CPU, processes=1)
    batch = next(trainer._batches([data]))
    meta = torch.device("meta")  # where there are no values: whoever asks for one is refused
    there = tree_map(lambda value: value.to(meta), vars(batch))
    loss, parts = trainer.policy.to(meta).loss(Batch(**there), tokens)
    loss.backward()
    assert {part.device for part in parts.values()} == {meta}


def test_what_is_in_sight_is_found_before_the_batch_goes_to_its_device(
    tiny: Recipe, data: Demonstrations, tmp_path: Path
) -> None:
    batch = next(Trainer(tiny, tmp_path, CPU, processes=1)._batches([data]))
    seen = ~batch.points.isnan().any(-1)
    torch.testing.assert_close(batch.points[batch.seen], batch.points[seen], rtol=0, atol=0)
    torch.testing.assert_close(batch.points[batch.placed], batch.points[:, :PLACED][seen[:, :PLACED]], rtol=0, atol=0)
    assert 0 < len(batch.placed[0]) < len(batch.seen[0])


def test_beside_a_gpu_as_many_processes_record_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_processes(CPU) == 2
    for cores, processes in ((4, 4), (64, 16), (None, 1)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert default_processes(torch.device("cuda", 1)) == processes


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
    visual = trained.visual_tokens(pixels(data, 12))
    for number, goal in enumerate(GOALS[:12]):
        result = engine.infer(Observation((data.images[number],), goal.instruction, stamp=0.1 * number))
        bins = torch.from_numpy(LAST_ACTION_ID - result.tokens)[None, None]
        text = [trained.prompts(goal.skill)[[COLOURS.index(goal.colour)]]]
        logits = trained.branches(visual[[number]], None, text, bins)[0][0, 0]  # each token, given those before
        assert logits.argmax(-1).tolist() == result.tokens.tolist()
        value = trained.scale.numpy() * (bins[0, 0].clamp_max(254).numpy() - 127) / 127.5  # OpenVLA has 255 centres
        np.testing.assert_allclose(result.actions[0], value, atol=1e-7)
        engine.reset()


def test_tokenizer_ignores_the_prompt_around_the_instruction() -> None:
    tokenizer = build_tokenizer()
    plain = tokenizer.encode("pick up the red cube")
    asked = tokenizer.encode("In: What action should the robot take to pick up the red cube?\nOut:")
    assert plain.ids == asked.ids
    assert plain.tokens == ["<s>", "pick", "up", "the", "red", "cube"]
    assert tokenizer.encode("juggle").tokens == ["<s>", "<unk>"]


def test_unknown_and_missing_recipe_keys_are_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.read_text().replace("warmup:", "epochs:"))
    with pytest.raises(ValueError, match=r"recipe.yaml: unknown keys epochs; missing keys warmup; valid are .*batch"):
        Recipe.load(path)


def test_a_recipe_survives_its_checkpoint(tiny: Recipe, tmp_path: Path) -> None:
    SmallPolicy(tiny).save(tmp_path / "policy.pt")
    assert SmallPolicy.restore(tmp_path / "policy.pt").recipe == tiny
    assert isinstance(Recipe.load(RECIPE).round_steps, tuple)
