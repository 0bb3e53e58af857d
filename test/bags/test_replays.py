"""What a replay makes of stamps that tell nothing, of images that give no action, and of instructions that change."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from vla_entropy_ros.bags.bag import Bag
from vla_entropy_ros.bags.record_simulation import IMAGES, POSES, STATES
from vla_entropy_ros.cli import main
from vla_entropy_ros.client import Answer, VlaClient
from vla_entropy_ros.engine import Observation, Policy

from .written import write_bag

STAMPS = [1700000000.0 + number / 10 for number in range(6)]
USED = "the time they were recorded at is used"


def zero(time: float) -> float:
    return 0.0


def monotonic(time: float) -> float:
    return time - 1699990000.0


def stuck(time: float) -> float:
    return STAMPS[0]


def replay(folder: Path, *more: str) -> Result:
    """`vla-entropy replay` of a bag."""
    given = () if "--instruction" in more else ("--instruction", "pick up the red cube")
    return CliRunner().invoke(main, ["replay", str(folder), *given, *more])


@pytest.mark.parametrize(("clock", "why"), [(zero, "zero"), (monotonic, "of another clock"), (stuck, "all the same")])
def test_stamps_that_tell_nothing_give_way_to_the_recorded_time(
    tmp_path: Path, clock: Callable[[float], float], why: str
) -> None:
    at = [(stamp, stamp - STAMPS[0]) for stamp in STAMPS]
    folder = write_bag(tmp_path / "bag", STAMPS, at, poses=at, clock=clock)
    with Bag(folder) as bag:
        frames = list(bag.frames())
        said = f"stamps of 6 of 6 messages are {why}: {USED}"
        assert bag.notes == [f"{topic}: {said}" for topic in (IMAGES, STATES, POSES)]
    assert [frame.stamp for frame in frames] == pytest.approx(STAMPS)
    assert [state.stamp for frame in frames for state in frame.measured] == pytest.approx(sorted(STAMPS * 2))
    told = [state.values[0] for frame in frames if (state := frame.state(("joint1",))) is not None]
    assert told == pytest.approx([position for _, position in at])
    done = replay(folder)
    assert done.exit_code == 0
    assert "6 images, 6 ticks, 'pick" in done.output
    assert f"{IMAGES}: {said}" in done.output.splitlines()


def test_good_stamps_count_also_where_the_recorded_times_tell_nothing(tmp_path: Path) -> None:
    said = iter([50.0, 50.1, 50.2, 50.0])
    folder = write_bag(tmp_path / "bag", [5.0] * 3, [(5.0, 1.0)], clock=lambda _: next(said))
    with Bag(folder) as bag:
        assert [frame.stamp for frame in bag.frames()] == pytest.approx([50.0, 50.1, 50.2])
        assert not any(note.startswith(IMAGES) for note in bag.notes)


def test_a_node_is_played_recorded_times_as_stamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stamps = [STAMPS[0] + number / 10 for number in range(15)]
    at = [(stamp, 0.0) for stamp in stamps]
    folder = write_bag(tmp_path / "bag", stamps, at, poses=at, clock=zero, asked=[(stamps[0], "pick up the red cube")])
    done = CliRunner().invoke(main, ["replay", str(folder), "--node", "--json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert (figures["images"], figures["ticks"] > 5) == (15, True)
    assert sum_of(figures) == 15
    assert f"{IMAGES}: stamps of 15 of 15 messages are zero: {USED}" in figures["notes"]
    assert all(abs(step["stamp"] - stamps[0]) < 2 for step in figures["steps"])


def test_a_node_tells_why_images_gave_no_action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stamps = [STAMPS[0] + number / 10 for number in range(15)]
    folder = write_bag(tmp_path / "bag", stamps, [], clock=lambda time: time - 5.0)
    done = replay(folder, "--node", "--json")
    figures = json.loads(done.stdout)
    assert (figures["images"], figures["ticks"], sum_of(figures)) == (15, 0, 15)
    assert "too old" in figures["refused"]
    assert any("s old" in note for note in figures["notes"]), figures["notes"]
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: no tick of 15 images: ")


def sum_of(figures: dict[str, Any]) -> int:
    """Images whose end a replay tells."""
    return figures["ticks"] + figures["early"] + figures["late"] + sum(figures["refused"].values())


def test_every_image_is_counted_as_tick_early_late_or_refused(tmp_path: Path) -> None:
    times = [2.0, 2.03, 2.06, 2.1, 2.05, 2.2]
    said = iter(times)
    folder = write_bag(tmp_path / "bag", [2 + number / 100 for number in range(6)], [], clock=lambda _: next(said))
    figures = json.loads(replay(folder, "--json").stdout)
    assert (figures["images"], figures["ticks"], figures["early"], figures["late"]) == (6, 3, 2, 1)
    assert sum_of(figures) == 6
    assert "6 images, 3 ticks, 2 early, 1 late, 'pick up the red cube'" in replay(folder).stdout


def test_a_replay_without_a_tick_fails_and_says_why(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", STAMPS, [], image=b"no image")
    for more in ((), ("--json",)):
        done = replay(folder, *more)
        assert done.exit_code == 1
        assert done.stderr.startswith("Error: no tick of 6 images: compressed image of format 'jpeg' can't be decoded")
        assert len(done.stderr.splitlines()) == 1
    figures = json.loads(done.stdout)
    assert (figures["images"], figures["ticks"], sum_of(figures)) == (6, 0, 6)


def test_a_replay_says_why_the_colours_may_be_others(tmp_path: Path) -> None:
    _, grey = cv2.imencode(".jpg", np.full((56, 56), 99, np.uint8))
    told = "yuv422_yuy2; jpeg compressed mono8"
    folder = write_bag(tmp_path / "bag", STAMPS, [], image=grey.tobytes(), format_=told)
    done = replay(folder)
    assert done.exit_code == 0
    lost = [line for line in done.stdout.splitlines() if "have lost their colours, the policy sees grey" in line]
    assert len(lost) == 1
    assert repr(told) in lost[0]


def test_a_replay_without_an_image_fails_and_names_the_topic(tmp_path: Path) -> None:
    done = replay(write_bag(tmp_path / "bag", [], [(2.0, 1.0)]))
    assert (done.exit_code, done.stderr) == (
        1, f"Error: no tick: the bag has no image on {IMAGES}, choose another --topic\n"
    )  # fmt: skip


RED, BLUE = "pick up the red cube", "pick up the blue cube"
ASKED = [(STAMPS[0] - 1, RED), (STAMPS[3] - 0.05, BLUE)]


def test_an_instruction_that_changes_in_the_bag_is_followed_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_bag(tmp_path / "bag", STAMPS, [], asked=ASKED)
    followed, infer = [], Policy.infer

    def watched(policy: Policy, observation: Observation) -> Any:
        followed.append((round(observation.stamp, 3), observation.instruction))
        return infer(policy, observation)

    monkeypatch.setattr(Policy, "infer", watched)
    done = CliRunner().invoke(main, ["replay", str(folder), "--json"])
    figures = json.loads(done.stdout)
    assert (figures["instruction"], figures["instructions"], figures["ticks"]) == (RED, [RED, BLUE], 6)
    assert followed[-6:] == [
        (round(stamp, 3), text) for stamp, text in zip(STAMPS, [RED] * 3 + [BLUE] * 3, strict=True)
    ]
    only = json.loads(replay(folder, "--instruction", RED, "--json").stdout)
    assert (only["instructions"], {text for _, text in followed[-6:]}) == ([RED], {RED})
    assert f"'{RED}', then '{BLUE}'" in CliRunner().invoke(main, ["replay", str(folder)]).stdout


def test_a_node_is_told_an_instruction_that_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told, instruct = [], VlaClient.instruct

    def watched(client: VlaClient, text: str) -> Answer:
        told.append(text)
        return instruct(client, text)

    monkeypatch.setattr(VlaClient, "instruct", watched)
    folder = write_bag(tmp_path / "bag", STAMPS, [], asked=ASKED)
    figures = json.loads(CliRunner().invoke(main, ["replay", str(folder), "--node", "--json"]).stdout)
    assert (figures["instructions"], told) == ([RED, BLUE], [BLUE])
    replay(folder, "--node")
    assert told == [BLUE]  # what is asked for on the command line holds


def test_an_empty_instruction_in_the_bag_gives_no_action(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", STAMPS, [], asked=[(STAMPS[0] - 1, RED), (STAMPS[3] - 0.05, "")])
    figures = json.loads(CliRunner().invoke(main, ["replay", str(folder), "--json"]).stdout)
    assert (figures["ticks"], figures["refused"]) == (3, {"the instruction is empty": 3})
