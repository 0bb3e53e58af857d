"""A safety input is heard from publishers of any quality of service, once; and who speaks on a topic is known."""

from __future__ import annotations

import time
from typing import Any

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, String

from vla_entropy_ros.nodes.common import listen
from vla_entropy_ros.nodes.common.listen import SafetyInput, Speakers, subscribe

OFFERS = [
    (reliability, durability)
    for reliability in (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT)
    for durability in (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL)
]


def profile(offer: tuple[ReliabilityPolicy, DurabilityPolicy]) -> QoSProfile:
    return QoSProfile(depth=1, reliability=offer[0], durability=offer[1])


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: "-".join(policy.name for policy in offer).lower())
def test_a_message_of_any_offer_is_heard_once(stage: Any, offer: tuple[ReliabilityPolicy, DurabilityPolicy]) -> None:
    heard: list[bool] = []
    SafetyInput(stage.tester, Bool, "stop", lambda message: heard.append(message.data))
    speaker = stage.add(Node("speaker"))
    publisher = speaker.create_publisher(Bool, "stop", profile(offer))
    stage.until(lambda: publisher.get_subscription_count() > 0, "a listener")
    time.sleep(0.2)  # the other subscriptions that match
    for number in range(6):
        publisher.publish(Bool(data=number % 2 == 0))
        time.sleep(0.02)
    stage.until(lambda: len(heard) >= 6, "the messages")
    time.sleep(0.2)
    assert heard == [True, False] * 3


def test_what_was_latched_before_is_heard(stage: Any) -> None:
    speaker = stage.add(Node("speaker"))
    speaker.create_publisher(Bool, "stop", profile(OFFERS[1])).publish(Bool(data=True))
    heard: list[bool] = []
    SafetyInput(stage.tester, Bool, "stop", lambda message: heard.append(message.data))
    stage.until(lambda: heard == [True], "the latched message")


class Info:
    """What the graph tells of a publisher of another type."""

    node_namespace, node_name, topic_type, endpoint_gid = "/panel", "button", "std_msgs/msg/String", b"0" * 16


def test_a_publisher_of_another_type_is_named(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ears = SafetyInput(stage.tester, Bool, "stop", lambda _: None)
    assert ears.mismatch() is None
    monkeypatch.setattr(stage.tester, "get_publishers_info_by_topic", lambda topic: [Info()])
    said = ears.mismatch()
    assert (
        said == "/stop: /panel/button publishes std_msgs/msg/String, which can't be heard; expected std_msgs/msg/Bool"
    )


def test_two_who_speak_are_named_until_one_is_silent(stage: Any) -> None:
    speakers = Speakers(stage.tester, "talk")
    subscribe(stage.tester, String, "talk", lambda _, info: [speakers.note(info)], QoSProfile(depth=10))
    publishers = [stage.add(Node(name, namespace="/side")).create_publisher(String, "/talk", 10) for name in ("a", "b")]
    for publisher in publishers:
        stage.until(lambda one=publisher: one.get_subscription_count() > 0, "a listener")
    publishers[0].publish(String(data="1"))
    time.sleep(0.2)
    assert speakers.several is None

    def both() -> bool:
        for publisher in publishers:
            publisher.publish(String(data="2"))
        time.sleep(0.02)
        return speakers.several is not None

    stage.until(both, "both")
    assert speakers.several == "/side/a, /side/b"

    def one() -> bool:
        publishers[0].publish(String(data="3"))
        time.sleep(0.02)
        return speakers.several is None

    stage.until(one, "the end of the second")


def test_without_ids_the_running_numbers_tell_two_publishers_apart(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with rclpy of Jazzy."""
    speakers = Speakers(stage.tester, "talk")
    for number in range(1000, 1010):
        speakers.note({"publication_sequence_number": number})
    assert speakers.several is None
    speakers.note({"publication_sequence_number": 1040})  # some were lost
    assert speakers.several is None
    monkeypatch.setattr(stage.tester, "get_publishers_info_by_topic", lambda topic: [Info()])
    speakers.note({"publication_sequence_number": 3})
    assert speakers.several == "/panel/button"
    assert len({speakers.note({"publication_sequence_number": number}) for number in (4, 1041, 5, 1042)}) == 2


def test_senders_are_known_under_every_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    node, executor = Node("ears"), SingleThreadedExecutor()
    speakers, heard = Speakers(node, "talk"), list[Any]()
    subscribe(node, String, "talk", lambda message, info: heard.append(speakers.note(info)), QoSProfile(depth=10))
    publisher = node.create_publisher(String, "talk", 10)
    executor.add_node(node)
    end = time.monotonic() + 20.0
    while not heard and time.monotonic() < end:
        publisher.publish(String(data="1"))
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    assert heard
    assert speakers.names([heard[0]]) == "/ears"
    assert listen.RECENT > 0
    node.destroy_node()


def test_nobody_is_asked_for_more_than_he_offers(stage: Any) -> None:
    """His own log would say that nothing is sent to such a subscription, and everything is heard."""
    ears = SafetyInput(stage.tester, Bool, "stop", lambda _: None)
    speaker = stage.add(Node("speaker"))
    plain = speaker.create_publisher(Bool, "stop", profile(OFFERS[0]))
    stage.until(lambda: listen.SURELY in ears._subscriptions, "the reliable subscription")
    assert set(ears._subscriptions) == {listen.ANYBODY, listen.SURELY}
    stage.until(lambda: plain.get_subscription_count() == 2, "both")
    speaker.create_publisher(Bool, "stop", profile(OFFERS[1]))
    stage.until(lambda: listen.KEPT in ears._subscriptions, "the latched subscription")
