"""What the panel hears over DDS: of whom, while somebody looks, and in words where nothing is heard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray

from vla_entropy_ros.nodes.common.listen import LATCHED
from vla_entropy_ros.panel import listening
from vla_entropy_ros.panel.feed import Feed
from vla_entropy_ros.panel.listening import is_beside
from vla_entropy_ros.panel.snapshot import KEPT, NO_POLICY
from vla_entropy_ros.stages import PARTS

from .policies import PretendedPolicy

PATIENCE = 15.0  # seconds until something counts as never happening
OK, WARN = b"\0", b"\1"


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"waited {patience} s for {what}"
        time.sleep(0.01)


@pytest.fixture
def feed() -> Iterator[Feed]:
    one = Feed()
    one.show()
    yield one
    one.close()


@pytest.fixture
def policies() -> Iterator[Callable[..., PretendedPolicy]]:
    """What starts policies; those that were not closed are at the end."""
    made: list[PretendedPolicy] = []

    def start(namespace: str = "") -> PretendedPolicy:
        made.append(PretendedPolicy(namespace))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_without_a_policy_the_words_say_how_to_start_one(feed: Feed) -> None:
    time.sleep(0.3)
    assert feed.look().trouble == NO_POLICY
    assert not feed.look().heard


def test_the_first_policy_found_is_heard_and_another_one_when_it_is_chosen(feed: Feed, policies: Any) -> None:
    policies("/left")
    until(lambda: feed.look().heard, "the policy")
    assert feed.look().namespace == "/left"
    policies("/right")
    until(lambda: feed.look().namespaces == ("/left", "/right"), "both policies")
    assert feed.look().trouble == ""
    feed.choose("/right")
    until(lambda: feed.look().namespace == "/right" and feed.look().heard, "the other one")


def test_subscriptions_exist_while_somebody_looks_and_no_longer(feed: Feed, policies: Any) -> None:
    policy = policies()
    until(lambda: policy.subscriptions_of_others() == 4, "all subscriptions")
    feed.hide()
    until(lambda: policy.subscriptions_of_others() == 0, "no subscription")
    assert not list(feed.node.subscriptions)
    assert not list(feed.node.timers)
    assert not list(feed.node.clients)
    feed.show()
    until(lambda: policy.subscriptions_of_others() == 4, "all subscriptions again")
    until(lambda: feed.look().heard and feed.look().knobs, "the policy again")


def test_two_policies_of_one_name_are_told(feed: Feed, policies: Any) -> None:
    policies().node.create_publisher(DiagnosticArray, "/policy/goal/status", LATCHED)  # as one that was killed
    until(lambda: feed.look().heard, "the policy")
    time.sleep(1.5)
    assert feed.look().trouble == ""
    policies()
    until(lambda: feed.look().trouble == "2 policies are named /policy: end all but one", "the words")


def test_a_policy_that_goes_away_is_told_and_comes_back_by_itself(feed: Feed, policies: Any) -> None:
    policy = PretendedPolicy("/left")
    until(lambda: feed.look().heard, "the policy")
    policy.close()
    until(lambda: "no word from /left/policy for 3 s" in feed.look().trouble, "the words")
    assert not feed.look().heard
    policies("/right")
    until(lambda: feed.look().trouble.endswith("s; policies: /right"), "the other one's name")
    policies("/left").set("k1", 9)
    until(lambda: feed.look().heard and not feed.look().trouble, "the policy again")
    until(lambda: "k1" in feed.look().knobs and feed.look().knobs["k1"].value == 9, "its parameters")


def test_ticks_are_kept_and_a_picture_comes_with_the_counts_of_its_own_tick(feed: Feed, policies: Any) -> None:
    policy = policies()
    until(lambda: policy.subscriptions_of_others() == 4 and feed.look().heard, "the subscriptions")
    policy.tick()
    until(lambda: feed.look().picture is not None and feed.look().ticks, "a tick")
    (tick,) = feed.look().ticks
    assert tick.stages == tuple(float(number) for number in range(len(PARTS)))
    assert (tick.total, tick.period, tick.fresh, tick.reused) == (11.0, 100.0, 5.0, 11.0)
    picture = feed.look().picture
    assert picture is not None
    assert (picture.stamp, picture.width, picture.height) == (tick.stamp, 32, 32)
    assert feed.look().counts == {0: 11, 1: 2, 2: 1, 3: 1, 4: 1, 5: 0, 6: 0}
    for _ in range(KEPT + 5):
        policy.tick()
        time.sleep(0.005)
    until(lambda: len(feed.look().ticks) == KEPT, "many ticks")
    policy.tick()
    time.sleep(0.2)
    assert len(feed.look().ticks) == KEPT


def test_a_picture_as_large_as_a_policy_draws_it_arrives(feed: Feed, policies: Any) -> None:
    policy = policies()
    until(lambda: policy.subscriptions_of_others() == 4 and feed.look().heard, "the subscriptions")
    for _ in range(20):
        policy.tick(448)
        time.sleep(0.05)
    picture = feed.look().picture
    assert picture is not None
    assert (picture.width, len(picture.data)) == (448, 448 * 448 * 3)


def test_parameters_are_followed_when_others_set_them(feed: Feed, policies: Any) -> None:
    policy = policies()
    until(lambda: feed.look().knobs, "the parameters")
    knob = feed.look().knobs["row_budget"]
    assert (knob.value, knob.low, knob.high) == (80, 0, 256)
    policy.set("row_budget", 33)
    until(lambda: feed.look().knobs["row_budget"].value == 33, "the new value", 2.0)
    policy.set("mode", "full")
    until(lambda: feed.look().knobs["mode"].value == "full", "the new mode", 2.0)


def test_ranges_are_read_again_when_the_policys_state_changes(feed: Feed, policies: Any) -> None:
    policy = policies()
    until(lambda: feed.look().knobs, "the parameters")
    policy.narrow(100)
    policy.state = "inactive"
    until(lambda: feed.look().knobs["k1"].high == 100, "the narrowed range", 3.0)


def test_diagnostics_are_those_of_the_nodes_beside_the_policy(
    feed: Feed, policies: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "OLD", 1.0)
    policy = policies("/left")
    until(lambda: feed.look().heard, "the policy")
    lines = [("left/policy: cache", OK, "fine"), ("policy: cache", OK, "another"), ("/left/command: arm", WARN, "far")]
    until(lambda: policy.diagnose(*lines) or feed.look().health, "the diagnostics")
    told = [(one.name, one.level, one.message) for one in feed.look().health]
    assert told == [("left/command: arm", 1, "far"), ("left/policy: cache", 0, "fine")]
    until(lambda: all(one.level == 3 and "no word" in one.message for one in feed.look().health), "stale lines")
    policy.diagnose(*lines)
    until(lambda: [one.level for one in feed.look().health] == [1, 0], "fresh lines")


@pytest.mark.parametrize(
    ("status", "namespace", "beside"),
    [
        ("policy: cache", "/", True),
        ("/policy: cache", "/", True),
        ("left/policy: cache", "/", False),
        ("left/policy: cache", "/left", True),
        ("left/arm/policy: cache", "/left", False),
        ("leftover/policy: cache", "/left", False),
        ("policy", "/", False),
    ],
)
def test_whose_diagnostics_a_line_is(status: str, namespace: str, beside: bool) -> None:
    assert is_beside(status, namespace) == beside
