"""One goal at a time: how it begins, fares and ends, told by numbers alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vla_entropy_ros.nodes.common.goals import CANCELLED, DONE, HELD, RUNNING, TIMED_OUT, Request, Until
from vla_entropy_ros.nodes.policy.goal import CLIENTS, LATE, SILENT, Goals, Scene

PATIENCE = 5.0
STEP = 0.1  # seconds between two looks
CLIENT = 5  # the number that it says
ACTING = Scene(0.0, ticks=0, arm="tracking")


class Told:
    """Goals under a clock that tests turn: a tick at every step, unless they say otherwise."""

    def __init__(self, **asked: Any) -> None:
        self.goals = Goals()
        self.scene = replace(ACTING, now=100.0)
        self.goals.beat(CLIENT, self.scene.now)
        self.goals.start(Request.of({"instruction": "pick up the red cube", "client": CLIENT, **asked}), self.scene)

    def go_on(self, seconds: float, beating: bool = True, acting: bool = True, **changes: Any) -> Told:
        """Let time pass, until it ends."""
        for _ in range(round(seconds / STEP)):
            now = self.scene.now + STEP
            if acting:
                self.scene = replace(self.scene, ticks=self.scene.ticks + 1, last_tick=now)
            self.scene = replace(self.scene, now=now, **changes)
            if beating:
                self.goals.beat(CLIENT, now)
            self.goals.look(self.scene, PATIENCE)
            if not self.goals.now.running:
                break
        return self

    @property
    def state(self) -> str:
        return self.goals.now.state

    @property
    def elapsed(self) -> float:
        return float(str(self.goals.facts(self.scene)["elapsed"]))


def test_without_an_end_of_its_own_it_runs_on() -> None:
    assert Told().go_on(120.0).state == RUNNING


def test_it_times_out_and_says_what_held_the_arm() -> None:
    told = Told(timeout=3.0).go_on(2.0).go_on(4.0, arm="holding: chunks are stale")
    assert (told.state, told.goals.now.why) == (TIMED_OUT, "not done within 3 s; holding: chunks are stale")
    assert told.elapsed == pytest.approx(3.0, abs=1.1 * STEP)


def test_time_alone_can_make_it_done() -> None:
    told = Told(until="time 2", timeout=9.0).go_on(60.0)
    assert told.state == DONE
    assert told.elapsed == pytest.approx(2.0, abs=1.1 * STEP)


def test_what_a_topic_says_makes_it_done_at_the_next_look() -> None:
    told = Told(until="topic simulator/success").go_on(1.5)
    told.goals.say(True, told.scene.now)
    assert told.go_on(STEP).state == DONE
    assert told.goals.now.why == "simulator/success is true"


def test_what_was_true_before_must_be_false_in_between() -> None:
    told = Told(until="topic simulator/success").go_on(STEP)
    for _ in range(50):
        told.goals.say(True, told.scene.now)
        told.go_on(STEP)
    assert told.state == RUNNING
    told.goals.say(False, told.scene.now)
    told.go_on(STEP).goals.say(True, told.scene.now)
    assert told.go_on(STEP).state == DONE


def test_what_is_true_after_a_goal_is_of_no_concern_to_the_next_one() -> None:
    told = Told(until="time 1").go_on(60.0)
    told.goals.say(True, told.scene.now)
    told.goals.start(Request("another"), told.scene)
    assert told.go_on(3.0).state == RUNNING


def test_an_arm_that_rests_is_done_only_if_nothing_holds_it_and_it_has_acted() -> None:
    told = Told(until="still 1")

    def rest(seconds: float, **changes: Any) -> str:
        for _ in range(round(seconds / STEP)):
            told.goals.still.measure({"position": np.zeros(3)}, told.scene.now)
            told.go_on(STEP, **changes)
        return told.state

    assert rest(0.9, acting=False) == RUNNING  # no action yet
    assert rest(3.0, arm="holding: no chunk") == RUNNING
    assert rest(0.9, arm="tracking") == RUNNING
    assert rest(0.5) == DONE


def test_motion_begins_the_rest_anew_and_noise_does_not() -> None:
    told = Told(until="still 1")
    for number in range(60):
        told.goals.still.measure(
            {"position": np.array([0.004 * number if number < 30 else 0.12, 0, 0])}, told.scene.now
        )
        told.goals.still.measure({"joints.a": np.array([0.004 * (number % 2)])}, told.scene.now)
        told.go_on(STEP)
    assert told.state == DONE
    assert told.elapsed == pytest.approx(4.0, abs=0.3)


@pytest.mark.parametrize("arm", ["holding: chunks are stale", "no commands: no current_pose for 1.0 s", "disabled"])
def test_an_arm_held_for_too_long_ends_it(arm: str) -> None:
    told = Told().go_on(4.0).go_on(PATIENCE - 0.5, arm=arm)
    assert told.state == RUNNING
    told.go_on(0.2, arm="tracking").go_on(PATIENCE - 0.5, arm=arm)  # held anew
    assert told.state == RUNNING
    assert told.go_on(1.0).state == HELD
    assert told.goals.now.why in (arm, "the arm is disabled: call command/enable")


def test_an_emergency_stop_ends_it_at_once() -> None:
    told = Told().go_on(1.0).go_on(STEP, arm="holding: emergency stop: call ~/release, then ~/enable")
    assert (told.state, "emergency stop" in told.goals.now.why) == (HELD, True)


def test_a_policy_that_is_taken_away_ends_it() -> None:
    assert Told().go_on(1.0).go_on(STEP, active=False).state == HELD


def test_without_a_command_node_silence_of_the_policy_counts_as_holding() -> None:
    told = Told().go_on(1.0, arm=None).go_on(PATIENCE, arm=None, acting=False)
    assert told.state == RUNNING
    told.go_on(SILENT + 0.5, arm=None, acting=False, fault="no action: out of memory")
    assert told.state == HELD
    assert "no action: out of memory" in told.goals.now.why


def test_a_client_that_is_silent_ends_it_where_that_is_asked_for() -> None:
    assert Told().go_on(30.0, beating=False).state == RUNNING
    told = Told(heartbeat=0.5).go_on(20.0)
    assert told.state == RUNNING
    before = told.elapsed
    told.go_on(30.0, beating=False)
    assert told.state == HELD
    assert told.elapsed - before == pytest.approx(0.6, abs=0.11)
    assert "client is lost" in told.goals.now.why


def test_a_client_must_be_heard_before_its_goal_begins() -> None:
    goals, asked = Goals(), Request("pick up the red cube", heartbeat=0.5, client=CLIENT)
    assert goals.silence(asked, 100.0) > 0.0
    assert goals.silence(replace(asked, heartbeat=0.0), 100.0) == 0.0
    goals.beat(CLIENT, 100.0)
    assert goals.silence(asked, 100.4) == 0.0
    assert goals.silence(asked, 100.6) == pytest.approx(0.1)


def test_of_many_clients_the_one_whose_goal_runs_is_not_forgotten() -> None:
    told = Told(heartbeat=5.0)
    for other in range(1000, 1000 + 3 * CLIENTS):
        told.goals.beat(other, told.scene.now)
    assert told.go_on(4.0, beating=False).state == RUNNING
    assert len(told.goals._beats) == CLIENTS


def test_a_client_is_not_lost_because_this_process_was_held_up() -> None:
    told = Told(heartbeat=0.5).go_on(2.0)
    told.scene = replace(told.scene, now=told.scene.now + LATE + 5.0)
    assert told.go_on(STEP, beating=False).state == RUNNING  # what it said meanwhile has not been heard yet
    assert told.go_on(3.0).state == RUNNING


def test_a_client_is_lost_also_where_every_look_is_late() -> None:
    told = Told(heartbeat=0.5).go_on(2.0)
    for _ in range(5):
        told.scene = replace(told.scene, now=told.scene.now + LATE)
        told.go_on(STEP, beating=False)
    assert told.state == HELD


def test_the_word_of_another_goals_client_does_not_count() -> None:
    told = Told(heartbeat=0.5).go_on(2.0)
    for _ in range(10):
        told.goals.beat(77, told.scene.now)
        told.go_on(STEP, beating=False)
    assert told.state == HELD


def test_it_is_cancelled_once() -> None:
    told = Told().go_on(1.0)
    assert told.goals.cancel(told.scene) is None
    assert (told.state, told.goals.now.number) == (CANCELLED, 1)
    assert "no goal is running: goal 1" in str(told.goals.cancel(told.scene))
    assert "none was given" in str(Goals().cancel(told.scene))


def test_facts_tell_this_goals_ticks_and_stay_when_it_has_ended() -> None:
    told = Told(until="time 1", timeout=4.0)
    assert told.goals.facts(told.scene)["action_age"] is None
    told.go_on(60.0)
    facts = told.goals.facts(replace(told.scene, now=told.scene.now + 50.0, ticks=900, arm="tracking"))
    assert (facts["goal"], facts["state"], facts["ticks"], facts["motion"]) == (1, DONE, told.scene.ticks, "tracking")
    assert facts["elapsed"] == pytest.approx(1.0, abs=1.1 * STEP)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "an instruction that is not empty"),
        ({"instruction": "  "}, "an instruction that is not empty"),
        ({"instruction": 3}, "instruction is 3, expected text"),
        ({"instruction": "a", "timeout": -1.0}, "timeout: -1.0 is no time: valid are 0 to"),
        ({"instruction": "a", "timeout": float("nan")}, "timeout: nan is no time"),
        ({"instruction": "a", "timeout": True}, "timeout is True, expected a number"),
        ({"instruction": "a", "heartbeat": 0.01}, "heartbeat: 0.01 s is too short"),
        ({"instruction": "a", "heartbeat": 0.5}, "a heartbeat needs the number of the client that sends it"),
        ({"instruction": "a", "heartbeat": 0.5, "client": 1.5}, "client is 1.5, expected a whole number"),
        ({"instruction": "a", "client": -3}, "client: -3 came, valid are 1 to 2147483647"),
        ({"instruction": "a", "client": 2**31}, "client: 2147483648 came, valid are 1 to"),
        ({"instruction": "a", "until": "success"}, "until 'success': valid are 'topic <name>'"),
        ({"instruction": "a", "until": "still"}, "until 'still'"),
        ({"instruction": "a", "until": "still 0"}, "0 seconds are over at once: valid are more"),
        ({"instruction": "a", "until": "time soon"}, "until 'time soon'"),
        ({"instruction": "a", "until": "topic a b"}, "until 'topic a b'"),
        ({"instruction": "pick\0the red"}, "holds a sign that can't be sent"),
        ({"instruction": "pick \ud800"}, "holds a sign that can't be sent"),
        ({"instruction": "a", "until": "topic a\0b"}, "until 'topic a\\x00b' holds a sign"),
        ({"instruction": "a", "until": "time 1_0"}, "until 'time 1_0': '1_0' is no time"),
        ({"instruction": "a", "speed": 1.0}, "a goal has no 'speed': valid are instruction"),
    ],
)
def test_what_is_no_goal_is_refused_in_words(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  (its words are looked at)
        Request.of(given)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("until", [Until(), Until.topic("/a/b"), Until.still(1.5), Until.time(20.0)])
def test_a_request_travels_as_named_values(until: Until) -> None:
    request = Request("pick", 3.0, until, 0.5, CLIENT)
    assert Request.of(request.values) == request
