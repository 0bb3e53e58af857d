"""A camera's subscriptions over DDS: as reliable as the publisher, also when that changes."""

from __future__ import annotations

from typing import Any

import pytest
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from vla_entropy_ros.nodes.policy.camera import Camera, match, topics

BEST_EFFORT, RELIABLE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE


@pytest.mark.parametrize(
    ("asked", "offered", "current", "expected"),
    [
        ("auto", [], BEST_EFFORT, BEST_EFFORT),
        ("auto", [], RELIABLE, RELIABLE),
        ("auto", [RELIABLE], BEST_EFFORT, RELIABLE),
        ("auto", [RELIABLE, BEST_EFFORT], RELIABLE, BEST_EFFORT),
        ("best_effort", [RELIABLE], BEST_EFFORT, BEST_EFFORT),
        ("reliable", [BEST_EFFORT], BEST_EFFORT, RELIABLE),
    ],
)
def test_reliability_is_that_of_the_publisher_unless_it_is_asked_for(
    asked: str, offered: list[ReliabilityPolicy], current: ReliabilityPolicy, expected: ReliabilityPolicy
) -> None:
    assert match(asked, offered, current) == expected


def test_topics_are_numbered_from_the_second_camera_on() -> None:
    assert topics(1) == ["image"]
    assert topics(3) == ["image", "image_2", "image_3"]


def test_a_camera_is_heard_whatever_it_offers_and_again_when_it_comes_back(stage: Any) -> None:
    node = stage.add(Node("watcher"))
    heard: list[Any] = []
    camera = Camera(node, "image", "auto", heard.append, lambda count: None)
    node.create_timer(0.05, camera.match)  # on the thread that spins, as in the policy node
    for reliability in (RELIABLE, BEST_EFFORT, RELIABLE):
        publisher = stage.tester.create_publisher(Image, "image", QoSProfile(depth=1, reliability=reliability))

        wanted = reliability.name.lower()
        stage.until(lambda wanted=wanted: camera.reliabilities[0] == wanted, "the same reliability")
        before = len(heard)

        def arrived(publisher: Any = publisher, before: int = before) -> bool:
            publisher.publish(Image())
            return len(heard) > before

        stage.until(arrived, "an image")
        stage.tester.destroy_publisher(publisher)
        stage.until(lambda: node.count_publishers("image") == 0, "the camera's end")


def test_compressed_images_are_heard_beside(stage: Any) -> None:
    node = stage.add(Node("watcher"))
    heard: list[Any] = []
    Camera(node, "image_2", "best_effort", heard.append, lambda count: None)
    publisher = stage.publisher(CompressedImage, "image_2/compressed")
    publisher.publish(CompressedImage(format="jpeg"))
    stage.until(lambda: len(heard) == 1, "an image")
