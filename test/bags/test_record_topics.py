"""Topics of a running robot go into a bag as they are, until the time is over or somebody ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vla_entropy_ros.bags.bag import Bag, BagError, Recorder
from vla_entropy_ros.bags.record_simulation import IMAGES
from vla_entropy_ros.images import encode_jpeg

RECORD = [sys.executable, "-c", "from vla_entropy_ros.cli import main; main()", "record"]
PATIENCE = 60.0  # seconds


@pytest.fixture
def camera() -> Iterator[Any]:
    """Yield the image publisher of a robot that speaks 20 times a second, in a context of its own.

    It said "ready" on `state` before, once and for late listeners.
    """
    from rclpy.context import Context
    from rclpy.node import Node
    from sensor_msgs.msg import CompressedImage
    from std_msgs.msg import String

    from vla_entropy_ros.nodes.common.listen import LATCHED

    context = Context()
    context.init()
    node: Any = Node("robot", context=context)
    images, texts = node.create_publisher(CompressedImage, IMAGES, 1), node.create_publisher(String, "instruction", 1)
    node.create_publisher(String, "state", LATCHED).publish(String(data="ready"))
    message = CompressedImage(format="jpeg", data=encode_jpeg(np.zeros((16, 16, 3), np.uint8)))
    ended = threading.Event()

    def speak() -> None:
        while not ended.wait(0.05):
            message.header.stamp = node.get_clock().now().to_msg()
            images.publish(message)
            texts.publish(String(data="pick up the red cube"))

    thread = threading.Thread(target=speak)
    thread.start()
    yield images
    ended.set()
    thread.join()
    node.destroy_node()
    context.try_shutdown()


@pytest.mark.usefixtures("camera")
def test_topics_of_a_running_robot_are_recorded_as_they_are(tmp_path: Path) -> None:
    from vla_entropy_ros.bags.record_topics import record_live

    began = time.time()
    counts = record_live(tmp_path / "bag", [IMAGES, "instruction"], seconds=2.0)
    assert min(counts.values()) > 5
    with Bag(tmp_path / "bag") as bag:
        frames = list(bag.frames())
        assert (bag.instruction, len(frames)) == ("pick up the red cube", counts[IMAGES])
    assert began - 1 < frames[0].stamp < time.time()
    assert frames[0].pixels().shape == (16, 16, 3)


@pytest.mark.usefixtures("camera")
def test_what_was_said_once_for_late_listeners_is_recorded_too(tmp_path: Path) -> None:
    from vla_entropy_ros.bags.record_topics import record_live

    assert record_live(tmp_path / "bag", [IMAGES, "state"], seconds=1.0)["/state"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_recording_that_is_ended_is_whole(camera: Any, tmp_path: Path, number: signal.Signals) -> None:
    given = [str(tmp_path / "bag"), "--topic", IMAGES, "--topic", "instruction", "--seconds", "600"]
    run = subprocess.Popen([*RECORD, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + PATIENCE
    while not camera.get_subscription_count():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline, "the recorder did not listen"
        time.sleep(0.1)
    time.sleep(1.0)
    os.kill(run.pid, number)
    said, errors = run.communicate(timeout=30)
    assert run.returncode == 0, errors
    with Bag(tmp_path / "bag") as bag:
        count = len(list(bag.frames()))
    assert count > 2
    assert f"{IMAGES}: {count} messages" in said


@pytest.mark.parametrize("topic", ["/a!b", "", "/2"])
def test_a_topic_that_can_not_be_is_refused(tmp_path: Path, topic: str) -> None:
    from vla_entropy_ros.bags.record_topics import record_live

    with pytest.raises(BagError, match="Invalid topic name"):
        record_live(tmp_path / "bag", [topic], seconds=0.1)
    assert not (tmp_path / "bag").exists()


def test_a_type_that_nobody_knows_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"/odd \(odd_msgs/msg/Odd\): a type of ROS 2's own packages is expected"):
        Recorder(tmp_path / "bag", [("/odd", "odd_msgs/msg/Odd")])
    assert not (tmp_path / "bag").exists()
