"""Who judges spoiled files finds what is planted: tracebacks, hangs, memory, unreadable refusals, other mathematics."""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tools.fuzz import __main__ as command
from tools.fuzz import oracles, parameters, policies, recordings, subjects, trial
from tools.fuzz.kinds import KINDS, Kind
from tools.fuzz.trial import Bench, Outcome
from vla_entropy_ros.bags.bag import BagError
from vla_entropy_ros.engine import CheckpointError
from vla_entropy_ros.settings import default_settings

GOOD = "config.json: hidden_size 'x': expected a number above 0"


def planted(look: Callable[[Path], Any], tmp_path: Path, patience: float = 20.0) -> Outcome:
    """What comes of a trial of one file when that stands in for the product."""

    def sound(folder: Path) -> Path:
        folder.mkdir(parents=True)
        (folder / "file").write_text("sound")
        return folder

    def spoil(folder: Path, random: Random) -> str:
        (folder / "file").write_text("spoiled")
        return "spoiled"

    def unless_sound(folder: Path) -> Any:
        return "sound" if (folder / "file").read_text() == "sound" else look(folder)

    kind = Kind({"one": sound}, spoil, unless_sound, ("CheckpointError",), lambda *_: iter(()))
    return Bench("planted", kind, tmp_path).trial(3, patience)


def refuse(text: str, before: Callable[[], object] = lambda: None) -> Callable[[Path], Any]:
    def look(folder: Path) -> Any:
        before()
        raise CheckpointError(text)

    return look


class Same(str):
    """What was seen; the same as an equal one."""

    def same(self, other: str) -> bool:
        return self == other


def test_a_refusal_in_one_line_is_one(tmp_path: Path) -> None:
    outcome = planted(refuse(GOOD), tmp_path)
    assert (outcome.verdict, outcome.said, outcome.cause) == ("refused", GOOD, "")


@pytest.mark.parametrize(("seen", "verdict"), [("sound", "equal"), ("other", "different")])
def test_what_is_taken_is_equal_or_different(tmp_path: Path, seen: str, verdict: str) -> None:
    assert planted(lambda folder: Same(seen), tmp_path).verdict == verdict


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (f"{GOOD}\nand more", "several lines"),
        (f"{GOOD}\x00", "control characters"),
        (GOOD * 100, "longer than"),
        ("5", "says nothing"),
        ("", "says nothing"),
    ],
)
def test_a_refusal_nobody_can_read_is_found(tmp_path: Path, text: str, cause: str) -> None:
    outcome = planted(refuse(text), tmp_path)
    assert outcome.verdict == "finding"
    assert cause in outcome.cause


def test_a_traceback_is_found_with_its_place_in_the_package(tmp_path: Path) -> None:
    def look(folder: Path) -> Any:
        return default_settings("policy", folder / "file")

    outcome = planted(look, tmp_path)
    assert outcome.verdict == "finding"
    assert outcome.cause == "traceback: AttributeError in settings.py, all_default_settings"


def test_a_hang_is_ended_and_found(tmp_path: Path) -> None:
    began = time.monotonic()
    outcome = planted(lambda folder: time.sleep(60), tmp_path, patience=0.5)
    assert outcome.cause == "hangs: nothing after 0.5 s"
    assert time.monotonic() - began < 20


def test_the_death_of_the_process_is_found(tmp_path: Path) -> None:
    def die(folder: Path) -> None:
        faulthandler.disable()  # pytest's, which would tell of it
        os.abort()

    assert planted(die, tmp_path / "a").cause == "the process died: abort"
    assert planted(lambda folder: os._exit(3), tmp_path / "b").cause == "the process died: exit 3"


def test_a_refusal_that_eats_memory_or_time_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        planted(refuse(GOOD, lambda: np.ones(240 * 2**17)), tmp_path / "a").cause
        == "the refusal takes more than 200 MB"
    )
    assert planted(refuse(GOOD, lambda: np.ones(100 * 2**17)), tmp_path / "b").verdict == "refused"
    monkeypatch.setattr(trial, "SLOW", 0.1)
    busy = refuse(GOOD, lambda: [None for _ in iter(lambda: time.process_time() % 0.5 < 0.4, False)])
    assert planted(busy, tmp_path / "c").cause == "the refusal takes more than 0.1 s"


def test_memory_without_end_is_found_before_the_machine_has_none(tmp_path: Path) -> None:
    outcome = planted(lambda folder: np.ones(2**40), tmp_path)
    assert outcome.verdict == "finding"
    assert "MemoryError" in outcome.cause


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
        lambda f: change(f, "tokenizer.json", "model", "vocab", "red", value=10),
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


@pytest.mark.parametrize("name", KINDS)
def test_files_are_spoiled_as_their_seed_has_it(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    subject, write = next(iter(kind.subjects.items()))
    sound = write(tmp_path / subject)
    done = []
    for turn in ("one", "two"):
        for seed in range(12):
            copy = Path(shutil.copytree(sound, tmp_path / turn / str(seed)))
            done.append(kind.spoil(copy, Random(f"{name} {seed}")).replace(str(copy.parent), ""))
    assert done[:12] == done[12:]
    assert len(set(done)) > 8


def test_findings_are_written_with_the_command_that_shows_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def sound(folder: Path) -> Path:
        folder.mkdir(parents=True)
        return folder

    def off(folder: Path, seen: Any, reference: Any, said: str) -> Iterator[str]:
        return iter(["off"] if said else [])

    wrong = Kind({"one": sound}, lambda folder, random: "nothing", lambda folder: Same(), (), off)
    right = replace(wrong, judge=lambda *_: iter(()))
    monkeypatch.setattr(command, "environment", lambda domain: {})
    monkeypatch.setattr(command, "KINDS", {"wrong": wrong, "right": right})
    output = tmp_path / "out" / "fuzz.jsonl"
    for name, status in (("right", 0), ("wrong", 1)):
        words = ["fuzz", "--kind", name, "--seed", "7", "--count", "2", "--output", str(output)]
        monkeypatch.setattr(sys, "argv", words)
        assert command.main() == status
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["again"] for line in lines] == [
        f"python -m tools.fuzz --kind wrong --seed {n} --count 1" for n in (7, 8)
    ]
    said = capsys.readouterr().out
    assert "right: 2 files, 0 refused, 2 equal, 0 different, 0 finding" in said
    assert "  2 x off\n" in said
