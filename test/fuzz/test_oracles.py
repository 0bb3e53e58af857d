"""What is taken for something else than others take it for is found: ignored keys, other weights, words, images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tools.fuzz import oracles, parameters, policies, recordings, subjects
from vla_entropy_ros.bags.bag import BagError


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return subjects.small_policy(tmp_path_factory.mktemp("fuzz") / "small_policy")


@pytest.fixture(scope="module")
def acted(small: Path) -> policies.Acted:
    return policies.look(small)


def change(folder: Path, file: str, *keys: str, value: Any) -> None:
    tree = json.loads((folder / file).read_text())
    place = tree
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (folder / file).write_text(json.dumps(tree))


def change_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = "language_model.model.norm.weight"
    save_file({**tensors, name: tensors[name] * 1.01}, folder / "model.safetensors")


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "rope_theta": (
        lambda f: change(f, "config.json", "text_config", "rope_theta", value=5e5),
        "the logits are not those",
    ),
    "rms_norm_eps": (
        lambda f: change(f, "config.json", "text_config", "rms_norm_eps", value=0.5),
        "the logits are not those",
    ),
    "a word": (
        lambda f: change(f, "tokenizer.json", "model", "vocab", "red", value=50),
        "the ids of an instruction are other ones: of 'pick up the red cube'",
    ),
    "q99": (
        lambda f: change(f, "dataset_statistics.json", "tabletop", "action", "q99", value=[0.5] * 7),
        "the action is",
    ),
    "a weight": (change_weight, "a weight is not what its file holds: language_model.model.norm.weight"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_loader_ignores_is_found_and_what_it_honours_is_not(
    small: Path, acted: policies.Acted, tmp_path: Path, name: str
) -> None:
    spoil, cause = CHANGES[name]
    folder = Path(shutil.copytree(small, tmp_path / "spoiled"))
    spoil(folder)
    assert list(oracles.judge(small, acted, acted)) == []
    found = list(oracles.judge(folder, acted, acted))  # as if the file had been read before it was changed
    assert [text for text in found if text.startswith(cause)]
    honoured = policies.look(folder)
    assert not honoured.same(acted)
    assert list(oracles.judge(folder, honoured, acted)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("image_resize_strategy", "letterbox"), ("n_action_bins", 128), ("timm_override_act_layers", ["quick_gelu"])],
)
def test_keys_that_mean_something_elsewhere_are_not_ignored(
    small: Path, acted: policies.Acted, tmp_path: Path, key: str, value: Any
) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "spoiled"))
    change(folder, "config.json", key, value=value)
    assert [text for text in oracles.judge(folder, acted, acted) if text.startswith(f"{key} is ignored")]


def test_a_truncated_prompt_and_an_action_that_is_no_number_are_found(small: Path, acted: policies.Acted) -> None:
    short = replace(acted, ids={text: ids and ids[:2] for text, ids in acted.ids.items()})
    assert "the ids of an instruction are other ones" in "; ".join(oracles.judge(small, short, acted))
    assert acted.actions is not None
    for value, said in ((np.nan, "not finite"), (np.inf, "not finite"), (1e30, "absurd")):
        wrong = replace(acted, actions=np.full_like(acted.actions, value))
        assert said in next(oracles.judge(small, wrong, acted))
    assert "logits that are not finite" in next(
        oracles.judge(small, replace(acted, logits=acted.logits * np.nan), acted)
    )


def test_a_tokenizer_whose_prompt_can_not_be_one_is_found(small: Path, acted: policies.Acted, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "spoiled"))
    change(folder, "tokenizer.json", "model", "vocab", "the", value=200)
    assert [text for text in oracles.judge(folder, acted, acted) if "holds ids of actions or beyond" in text]


def test_a_control_tokens_name_that_becomes_that_token_is_found_and_one_that_is_unknown_is_not(
    small: Path, acted: policies.Acted
) -> None:
    control: dict[str, tuple[int, ...] | None] = {"</s>": (4, 5, 2, 6, 8, 7), policies.NO_TOKEN: (4, 5, 0, 6, 8, 7)}
    found = list(oracles.judge(small, replace(acted, control=control), acted))
    assert found == ["a control token's name inside an instruction becomes that token: </s> is 2"]
    unknown: dict[str, tuple[int, ...] | None] = {"<pad>": (4, 5, 3, 6), policies.NO_TOKEN: (4, 5, 3, 6)}
    assert list(oracles.judge(small, replace(acted, control=unknown), acted)) == []


def test_a_file_outside_the_folder_and_a_tensor_from_the_wrong_file_are_found(tmp_path: Path) -> None:
    folder = subjects.two_shards(tmp_path / "two_shards")
    seen = policies.look(folder)
    index = "model.safetensors.index.json"
    names = json.loads((folder / index).read_text())["weight_map"]
    norm, files = "language_model.model.norm.weight", sorted(set(names.values()))
    for where, said in (
        (f"../{names[norm]}", "a file outside the folder"),
        (next(file for file in files if file != names[norm]), "can't read where they are said to lie"),
    ):
        change(folder, index, "weight_map", norm, value=where)
        assert [text for text in oracles.judge(folder, seen, seen) if said in text]


def test_other_images_are_found_unless_they_are_what_was_changed(tmp_path: Path) -> None:
    folder = subjects.bag(tmp_path / "bag")
    read = recordings.look(folder)
    assert len(read.images) == 40
    fewer = replace(read, images=read.images[1:])
    assert list(recordings.judge(folder, read, read, "a bit")) == []
    assert list(recordings.judge(folder, fewer, read, "a bit")) == ["other images are read: 39 instead of 40"]
    assert list(recordings.judge(folder, fewer, read, f"{recordings.INSIDE}a bit")) == []


def test_the_checksum_of_the_bag_is_checked(tmp_path: Path) -> None:
    folder = subjects.bag(tmp_path / "bag")
    file = folder / recordings.MCAP
    content = bytearray(file.read_bytes())
    content[content.find(recordings.START_OF_FRAME) + 400] ^= 1
    file.write_bytes(content)
    with pytest.raises((BagError, Exception), match="checksum"):
        recordings.look(folder)


@pytest.mark.parametrize(
    ("values", "text", "said"),
    [
        ({"rate": 50.0}, "{rate: 20}", "rate is 50.0, the file says 20"),
        ({"rate": 20.0}, "{rate: 20}", None),
        ({"rate": 20.0}, "{rite: 20}", "'rite' is lost, and nobody says so"),
        ({"rate": float("nan")}, "{}", "rate is nan"),
        ({"rate": 1e9}, "{}", "rate: 1000000000.0 is out of range"),
    ],
)
def test_a_value_that_a_node_loses_or_should_not_have_is_found(
    tmp_path: Path, values: dict[str, Any], text: str, said: str | None
) -> None:
    (tmp_path / parameters.FILE).write_text(f"command: {{ros__parameters: {text}}}")
    found = "; ".join(parameters.judge(tmp_path, parameters.Started("command", values, "")))
    assert said in found if said else found == ""
