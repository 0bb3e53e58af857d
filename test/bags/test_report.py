"""What the page of a recorded run tells: figures, holds, changes, moments, and what a bag lacks, in words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vla_entropy_ros.bags.errors import BagError
from vla_entropy_ros.bags.report.found import find

from .runs import EVENTS, FACTS, GRID, RunBag, page, spans, steps, ticks
from .written import write_bag


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """The page of a run of two episodes with everything in it."""
    path = tmp_path_factory.mktemp("bags") / "run"
    with RunBag(path) as bag:
        bag.text("/instruction", 0.0, "pick up the red cube")
        bag.parameters(0.1, "/policy", {"k2": 24, "mode": "place_entropy"})
        bag.parameters(0.1, "/camera", {"exposure": 3})
        bag.state(0.2, "disabled")
        bag.state(1.0, "tracking")
        ticks(bag, *steps(1.0, 10))
        bag.goal(1.0, 1, "running", instruction="pick up the red cube", until="still 2")
        bag.goal(2.0, 1, "timed out", instruction="pick up the red cube", why="1 s is over", ticks=10)
        bag.parameters(2.05, "/policy", k2=40)
        bag.parameters(2.06, "/camera", exposure=5)
        more: dict[str, Any] = {"episode": 2, "instruction": "push the blue cube"}
        ticks(
            bag, *steps(3.0, 1), tokens__fresh=256, tokens__reused=0, tokens__changed=256, reason="new episode", **more
        )
        ticks(bag, *steps(3.1, 4), first=2, latency__total=130.0, **more)
        ticks(bag, 3.5, first=6, hold="action entropy 0.81 is above max_action_entropy 0.5", **more)
        ticks(bag, 3.6, first=7, hold="action entropy 0.72 is above max_action_entropy 0.5", **more)
        ticks(bag, *steps(3.7, 3), first=8, **more)
        bag.state(4.0, "holding: chunks are stale: none for 0.30 s")
        bag.state(4.5, "holding: chunks are stale: none for 0.80 s")
        bag.state(5.0, "no commands: no current_pose for 1.2 s on /current_pose")
        bag.diagnostics(5.0, ("command: safety", 3, "no commands: no current_pose"), ("lidar: scan", 1, "dusty"))
        bag.diagnostics(6.0, ("command: safety", 0, "tracking"), ("lidar: scan", 1, "dusty"))
        bag.state(6.0, "tracking")
    return page(path)


def test_figures_are_those_of_the_ticks(told: tuple[dict[str, Any], str]) -> None:
    figures, text = told
    assert (figures["ticks"], figures["episodes"], figures["late"]) == (20, 2, 4)
    assert figures["duration"] == pytest.approx(6.0)
    assert figures["total_ms"] == {"p50": 20.0, "p95": 130.0, "max": 130.0}
    assert figures["fresh_share"] == pytest.approx((19 * 64 + 256) / (20 * 256), abs=1e-4)
    assert figures["instructions"] == ["pick up the red cube", "push the blue cube"]
    assert (figures["modes"], figures["control_period_ms"]) == (["place_entropy"], [100.0])
    assert figures["missing"] == figures["notes"] == []
    assert "20.0% above 100 ms" in text


def test_holds_last_from_what_was_said_until_something_else_is_said(told: tuple[dict[str, Any], str]) -> None:
    assert spans(told[0], "holds") == [
        (3.5, 3.7, "policy", "action entropy 0.81 is above max_action_entropy 0.5"),
        (4.0, 5.0, "command node", "chunks are stale: none for 0.30 s"),
        (5.0, 6.0, "command node", "no commands: no current_pose for 1.2 s on /current_pose"),
    ]


def test_parameters_of_our_nodes_are_told_with_what_they_were(told: tuple[dict[str, Any], str]) -> None:
    figures, text = told
    (change,) = figures["changes"]
    assert change == {"time": pytest.approx(2.05), "node": "/policy", "name": "k2", "old": "24", "new": "40"}
    assert "k2 24 → 40" in text


def test_goals_are_told_with_how_they_ended(told: tuple[dict[str, Any], str]) -> None:
    (goal,) = told[0]["goals"]
    assert (goal["number"], goal["state"], goal["why"], goal["ticks"]) == (1, "timed out", "1 s is over", 10)
    assert (goal["begin"], goal["end"]) == (pytest.approx(1.0), pytest.approx(2.0))


def test_warnings_last_as_long_as_they_are_repeated_and_ours_come_first(told: tuple[dict[str, Any], str]) -> None:
    assert spans(told[0], "warnings") == [
        (5.0, 6.0, "command: safety", "no commands: no current_pose"),
        (5.0, 6.0, "lidar: scan", "dusty"),
    ]
    assert [one["level"] for one in told[0]["warnings"]] == [3, 1]


def test_the_moments_that_are_shown_are_those_where_something_happened(told: tuple[dict[str, Any], str]) -> None:
    moments = {round(moment["time"], 2): moment["why"] for moment in told[0]["moments"]}
    assert moments == {
        1.0: ["new episode: episode 1", "new instruction: pick up the red cube"],
        1.9: ["end of a goal: goal 1 timed out: 1 s is over"],
        3.0: [
            "new episode: episode 2", "new instruction: push the blue cube", "parameter: /policy: k2 24 → 40",
            "everything fresh: new episode",
        ],
        3.1: ["slowest tick: 130.0 ms"],
        3.5: ["hold: policy: action entropy 0.81 is above max_action_entropy 0.5"],
        3.9: ["hold: command node: chunks are stale: none for 0.30 s"],
    }  # fmt: skip
    assert {moment["picture"] for moment in told[0]["moments"]} == {"drawn"}


@pytest.mark.parametrize("topic", ["/policy/status", "/policy/selection", "/image/compressed", "/command/state"])
def test_a_topic_that_is_missing_is_named_with_what_records_it(tmp_path: Path, topic: str) -> None:
    with RunBag(tmp_path / "run") as bag:
        bag.number("latency/total", 1.0, 20.0)
        if topic != "/policy/status":
            bag.tick(1.0)
        if topic != "/policy/selection":
            bag.selection(1.0, np.zeros((GRID, GRID), np.uint8))
        if topic != "/image/compressed":
            bag.image(1.0)
        if topic != "/command/state":
            bag.state(1.0, "tracking")
    figures, text = page(tmp_path / "run")
    named = [line for line in figures["missing"] if f"--topic {topic}" in line]
    assert len(named) == 1
    assert named[0] in text
    others = {"--topic /policy/goal/status", "--topic /parameter_events", "--topic /diagnostics"}
    assert all(any(other in line for line in figures["missing"]) for other in others)
    assert figures["missing"][-1] == "vla-entropy record BAG --run records all of this"


def test_ticks_are_put_together_from_single_topics_where_there_is_no_status(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run") as bag:
        bag.text("/instruction", 0.5, "pick up the red cube")
        for time, total, fresh in ((1.0, 20.0, 256), (1.1, 30.0, 64), (1.2, 40.0, 32)):
            bag.image(time, stamp=time - 0.2)
            bag.number("latency/vision", time + 0.001, total / 2)
            bag.number("latency/total", time + 0.002, total)
            bag.number("tokens/fresh", time + 0.003, fresh)
            bag.number("tokens/reused", time + 0.004, 256 - fresh)
            bag.selection(time + 0.005, np.ones((GRID, GRID), np.uint8), stamp=time - 0.2)
        bag.number("latency/total", 3.0, 50.0)  # its other numbers were lost
    figures, text = page(tmp_path / "run")
    assert (figures["ticks"], figures["total_ms"]["max"], figures["episodes"]) == (4, 50.0, 0)
    assert figures["fresh_share"] == pytest.approx((256 + 64 + 32) / 768, abs=1e-4)
    assert figures["instructions"] == ["pick up the red cube"]
    assert figures["notes"] == ["ticks are put together from topics of one number each, by when they were recorded"]
    assert 'class="stage1"' in text
    slowest = [moment for moment in figures["moments"] if "slowest tick: 50.0 ms" in moment["why"]]
    assert [moment["picture"] for moment in slowest] == ["the image of this tick is not in the bag"]


def test_what_a_client_says_of_a_hold_counts_where_nobody_else_tells_it(tmp_path: Path) -> None:
    for name in ("without", "with"):
        with RunBag(tmp_path / name) as bag:
            if name == "with":
                bag.state(0.0, "tracking")
                bag.state(1.0, "holding: emergency stop: call ~/release, then ~/enable")
                bag.state(2.0, "tracking")
            for time in steps(0.0, 40):
                hold = "holding: emergency stop" if 1.1 <= time < 2.0 or time >= 3.0 else ""
                bag.goal(time, 1, "idle" if time >= 3.0 else "running", instruction="push", hold=hold)
    assert spans(page(tmp_path / "with")[0], "holds") == [
        (1.0, 2.0, "command node", "emergency stop: call ~/release, then ~/enable"),
    ]
    assert spans(page(tmp_path / "without")[0], "holds") == [(1.1, 2.0, "goal", "emergency stop")]


def test_holds_that_follow_each_other_closely_are_one_row_and_one_picture(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run") as bag:
        ticks(bag, *steps(1.0, 100))
        for number in range(10):
            bag.state(1.5 + 0.5 * number, f"holding: chunks are stale: none for 0.3{number} s")
            bag.state(1.6 + 0.5 * number, "tracking")
        bag.state(9.5, "holding: chunks are stale: none for 0.41 s")
        bag.state(9.8, "tracking")
    figures, text = page(tmp_path / "run")
    assert len(figures["holds"]) == 11
    rows = re.findall(r"<td>(.*?)</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td><td>command node</td>", text)
    assert rows == [("0.52", "5.12", "1.00", "10"), ("8.52", "8.82", "0.30", "1")]
    assert sum("hold: " in why for moment in figures["moments"] for why in moment["why"]) == 2


def test_a_goal_that_goes_on_at_the_end_of_the_bag_is_said_to_run(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run") as bag:
        bag.goal(0.0, 0, "idle")
        bag.goal(1.0, 1, "running", instruction="push")
        bag.goal(2.0, 1, "done", instruction="push", why="topic")
        bag.goal(2.5, 1, "done", instruction="push", why="topic")
        bag.goal(3.0, 2, "running", instruction="push")
        bag.goal(4.0, 2, "running", instruction="push")
    goals = page(tmp_path / "run")[0]["goals"]
    assert [(goal["number"], goal["begin"], goal["end"], goal["state"]) for goal in goals] == [
        (1, pytest.approx(1.0), pytest.approx(2.0), "done"),
        (2, pytest.approx(3.0), pytest.approx(4.0), "running"),
    ]


def test_a_policy_is_found_by_the_endings_of_its_topics(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run", "/left/policy") as bag:
        bag.tick(1.0)
        bag.state(1.0, "tracking")
        bag.text("/left/instruction", 1.0, "push")
        bag.diagnostics(1.0, ("left/command: safety", 2, "holding: chunk refused"))
        bag.parameters(1.0, "/left/command", action_scale=0.5)
    figures, _ = page(tmp_path / "run")
    assert (figures["policy"], figures["ticks"]) == ("/left/policy", 1)
    assert [change["node"] for change in figures["changes"]] == ["/left/command"]
    assert "--topic /left/policy/selection" in figures["missing"][0]


def test_of_several_policies_one_is_to_be_chosen(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run", "/left/policy") as left:
        right = RunBag.__new__(RunBag)
        right.__dict__ |= left.__dict__ | {"policy": "/right/policy", "space": "/right"}
        for bag, count in ((left, 1), (right, 2)):
            for time in steps(1.0, count):
                bag.tick(time)
            bag.goal(1.0, 0, "idle")
            bag.state(1.0, "tracking")
    said = r"2 policies: choose one with --policy; valid are /left/policy, /right/policy"
    with pytest.raises(BagError, match=said):
        page(tmp_path / "run")
    with pytest.raises(BagError, match=r"no policy 'middle' in the bag: valid are /left/policy, /right/policy"):
        page(tmp_path / "run", "middle")
    for asked, count in (("left/policy", 1), ("/right/policy/", 2)):
        assert page(tmp_path / "run", asked)[0]["ticks"] == count


def test_topics_of_another_type_are_not_taken_for_ours() -> None:
    kinds = {"/policy/goal/status": FACTS, "/policy/status": "std_msgs/msg/String", "/parameter_events": FACTS}
    topics = find(kinds)
    assert (topics.policy, topics.status, topics.events) == ("/policy", None, None)
    assert find(kinds | {"/parameter_events": EVENTS, "/lidar/status": FACTS}).events == "/parameter_events"


def test_a_bag_of_no_policy_says_what_it_has(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", [1.0], [(1.0, 0.0)])
    with pytest.raises(BagError, match=r"tells nothing of a policy's run: its topics are /current_pose, .*--run"):
        page(bag)


def test_a_policy_that_is_started_anew_counts_from_1_again(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run") as bag:
        bag.state(0.0, "tracking")
        for start in (0.0, 10.0):
            ticks(bag, *steps(start + 1.0, 20))
            for time in steps(start + 1.0, 20):
                bag.goal(time, 1, "running", instruction="push", elapsed=time - start - 1.0)
    figures, text = page(tmp_path / "run")
    goals = [(goal["number"], round(goal["begin"], 1), round(goal["end"], 1)) for goal in figures["goals"]]
    assert goals == [(1, 1.0, 2.9), (1, 11.0, 12.9)]
    assert figures["episodes"] == 2
    assert "the policy began anew once: " in text


def test_a_goal_that_is_given_again_after_its_end_is_another_one(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run") as bag:
        for start in (0.0, 5.0):  # the second policy's first word comes late, and after as many seconds
            bag.goal(start, 1, "running", instruction="push", elapsed=1.0)
            bag.goal(start + 1.0, 1, "held", instruction="push", elapsed=1.0)
    assert [round(goal["begin"], 1) for goal in page(tmp_path / "run")[0]["goals"]] == [0.0, 5.0]


def test_nobody_holds_an_arm_whose_command_node_is_gone(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run") as bag:
        bag.state(1.0, "holding: chunks are stale")
        for time in range(1, 5):
            bag.diagnostics(time + 0.2, ("command: safety", 1, "holding: chunks are stale"))
        bag.state(30.0, "tracking")
        for time in range(30, 40):
            bag.diagnostics(time + 0.2, ("command: safety", 0, "tracking"))
    assert spans(page(tmp_path / "run")[0], "holds") == [(0.0, 4.2, "command node", "chunks are stale")]


def test_starts_without_a_tick_show_in_what_the_policy_says_of_itself(tmp_path: Path) -> None:
    with RunBag(tmp_path / "run") as bag:
        bag.state(0.0, "disabled")
        for start in (0.0, 5.0, 15.0):  # the second one is ended before it is configured
            for time in steps(start, 20):
                state = "unconfigured" if time < start + 1.0 or start == 5.0 else "active"
                bag.goal(time, 0, "idle", policy=state)
    assert "the policy began anew 2 times: " in page(tmp_path / "run")[1]
