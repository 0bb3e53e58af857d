"""Bags: the one that ships, recording, replay through the engine and through the node."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from vla_entropy_ros.bags.bag import COMPRESSED, STRING, Bag, BagError, Recorder
from vla_entropy_ros.bags.record_simulation import IMAGES, POSES, STATES, record_simulated
from vla_entropy_ros.bags.replay_engine import replay_bag
from vla_entropy_ros.cli import main
from vla_entropy_ros.control.chunk import ACTION_NAMES
from vla_entropy_ros.control.pose import POSE_FIELDS
from vla_entropy_ros.engine import Policy
from vla_entropy_ros.images import encode_jpeg
from vla_entropy_ros.resources import default_checkpoint, share_path
from vla_entropy_ros.sim import Environment

from ..families import toy
from ..families.toy import CHUNK, write_toy
from .written import write_bag

SHIPPED = share_path("bags/pick_red")


def test_the_shipped_bag_is_small_and_shows_the_arm_at_work() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 1_000_000
    with Bag(SHIPPED) as bag:
        assert (bag.topic, bag.kind, bag.instruction) == (IMAGES, COMPRESSED, "pick up the red cube")
        frames = list(bag.frames())
        assert frames[0].pixels().shape == (224, 224, 3)
        assert 3.0 < frames[-1].stamp - frames[0].stamp < 5.0
        assert [frame.recorded for frame in frames] == [round(frame.stamp * 1e9) for frame in frames]


def test_a_replay_answers_each_due_image_and_says_what_it_cost() -> None:
    result = CliRunner().invoke(main, ["replay", str(SHIPPED), "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.output)
    assert (figures["images"], figures["ticks"], figures["refused"]) == (40, 40, {})
    assert 0 < figures["latency_ms"]["total"]["p50"] <= figures["latency_ms"]["total"]["max"]
    assert all(np.isfinite(step["actions"]).all() and len(step["actions"][0]) == 7 for step in figures["steps"])
    assert any(step["reused"] for step in figures["steps"])
    shown = CliRunner().invoke(main, ["replay", str(SHIPPED)])
    assert "40 images, 40 ticks, 'pick up the red cube'" in shown.output
    assert shown.output.splitlines()[1].split() == ["time", "[s]", *ACTION_NAMES, "fresh", "total", "[ms]"]


@pytest.mark.usefixtures("toy_family")
def test_a_replay_names_the_policys_own_actions_and_the_first_of_each_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("left_shoulder_pitch", "elbow", "a", "b", "c", "d", "e")
    monkeypatch.setattr(toy, "ACTION_NAMES", names)
    monkeypatch.setattr(toy, "STATE_NAMES", ("joint1", "x", "yaw"))
    folder, at = write_toy(tmp_path / "toy"), [(2.0, 0.1), (2.1, 0.2)]
    bag = write_bag(tmp_path / "bag", [2.0, 2.1], at, poses=at)
    arguments = ["replay", str(bag), "--checkpoint", str(folder), "--instruction", "pick up the red cube"]
    said = CliRunner().invoke(main, arguments, catch_exceptions=False).output.splitlines()
    assert said[0].endswith("2 images, 2 ticks, 'pick up the red cube'")
    assert said[1] == f"of each tick's actions the first of {CHUNK}"
    assert said[2].split()[2:-3] == list(names)
    figures = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).output)
    assert figures["action_names"] == list(names)
    assert len(figures["steps"][0]["actions"]) == CHUNK
    assert said[3].split()[1:-2] == [f"{value:.3f}" for value in figures["steps"][0]["actions"][0]]
    assert len(said[3]) == len(said[2])  # columns as wide as their names


def test_a_replay_through_the_node_gives_the_same_actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the node's log goes there
    runs = {
        way: CliRunner().invoke(main, ["replay", str(SHIPPED), "--json", *way], catch_exceptions=False)
        for way in ((), ("--node",))
    }
    engine, node = ({round(s["stamp"], 3): s for s in json.loads(run.output)["steps"]} for run in runs.values())
    assert len(node) > 20  # a busy machine may skip some
    assert set(node) <= set(engine)
    first = min(node)
    assert (first, node[first]["reused"]) == (min(engine), 0)
    np.testing.assert_allclose(node[first]["actions"], engine[first]["actions"], atol=1e-5)
    assert node[first]["latency"]["capture_age"] >= 0


def test_the_arm_can_be_recorded_without_ros_but_never_over_another_bag(tmp_path: Path) -> None:
    policy = Policy.load(default_checkpoint())
    count = record_simulated(tmp_path / "bag", policy, "pick_blue", seed=7, seconds=0.5)
    with Bag(tmp_path / "bag" / "bag.mcap") as bag:
        assert (bag.instruction, bag.state_topic) == ("pick up the blue cube", STATES)
        frames = list(bag.frames())
        assert len(frames) == count == 5
        states = [frame.state() for frame in frames]
        assert bag.pose_topic == POSES
    arm = (*(f"joint{n}" for n in range(1, 8)), "finger_left", "finger_right")
    measured = [state for state in states if state is not None]
    assert [state.stamp for state in measured] == [frame.stamp for frame in frames]
    assert {state.names for state in measured} == {(*arm, "gripper", *POSE_FIELDS)}
    assert len({state.values.tobytes() for state in measured}) == 5  # it moves
    env = Environment(image_size=56)
    env.reset("pick_blue", 7)
    names, values = env.state
    env.close()
    first = dict(zip(measured[0].names, measured[0].values, strict=True))
    np.testing.assert_allclose([first[name] for name in names], values, atol=1e-6)
    with pytest.raises(BagError, match="no bag can be written to"):
        record_simulated(tmp_path / "bag", policy, "pick_blue", seed=7, seconds=0.5)


def test_broken_images_in_a_bag_are_counted_by_reason(tmp_path: Path) -> None:
    good = encode_jpeg(np.full((56, 56, 3), 99, np.uint8))
    with Recorder(tmp_path / "bag", [("/camera/compressed", COMPRESSED), ("/instruction", STRING)]) as bag:
        types = bag.types.types
        for number in range(6):
            stamp = 10**9 + number * 10**8
            time = types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
            data = np.frombuffer(good if number % 2 else good[:9], np.uint8)
            header = types["std_msgs/msg/Header"](time, "")
            bag.add("/camera/compressed", stamp, types[COMPRESSED](header, "jpeg", data))
    with Bag(tmp_path / "bag") as opened:
        assert opened.instruction is None
        done = replay_bag(opened, Policy.load(default_checkpoint()), "pick up the red cube", 0.1)
    assert (done.images, len(done.steps)) == (6, 3)
    assert list(done.refused.values()) == [3]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no bag at"), ("", "is no bag"), ("rosbag2_bagfile_information: {}", "is no bag"), ("[", "is no bag")],
)
def test_what_is_no_bag_is_said_in_one_line(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "metadata.yaml").write_text(content)
    with pytest.raises(BagError, match=said) as refusal:
        Bag(tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_bag_without_a_camera_lists_what_it_has(tmp_path: Path) -> None:
    with Recorder(tmp_path / "bag", [("/instruction", STRING)]) as bag:
        bag.add("/instruction", 1, bag.types.types[STRING](data="wait"))
    with pytest.raises(BagError, match=r"the bag has no topic of images \(.*\): its topics are /instruction"):
        Bag(tmp_path / "bag")


def test_what_a_damaged_file_calls_things_is_printable() -> None:
    assert str(BagError("topic '/in\x1b[2J\n' of\ttype \x00")) == "topic '/in\\x1b[2J\\n' of\\ttype \\x00"
