"""What a report needs is recorded of the policies that are there, whenever they come."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vla_entropy_ros.bags.bag import BagError
from vla_entropy_ros.bags.report.report import write_page
from vla_entropy_ros.images import JPEG_FORMAT, encode_jpeg

from .runs import GRID, TICK

LATE, PATIENCE = 1.0, 20.0  # seconds


class Robot:
    """A camera, a policy and a command node as far as a recorder sees them, speaking 20 times a second."""

    def __init__(self, space: str = "", k2: int = 24) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        from sensor_msgs.msg import CompressedImage, Image
        from std_msgs.msg import Float64, String

        from vla_entropy_ros.nodes.common.listen import LATCHED

        self._context = Context()
        self._context.init()
        self.policy: Any = Node("policy", namespace=space, context=self._context)
        self.command: Any = Node("command", namespace=space, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        for node in (self.policy, self.command):
            self._executor.add_node(node)
        self.policy.declare_parameter("k2", k2)
        for kind, topic in ((CompressedImage, "image/compressed"), (Image, "image"), (String, "instruction")):
            self.policy.create_subscription(kind, topic, lambda _: None, 1)
        self.camera = self.policy.create_publisher(CompressedImage, "image/compressed", 1)
        self.raw = self.policy.create_publisher(Image, "image", 1)
        self.selection = self.policy.create_publisher(Image, "~/selection", 10)
        self.total = self.policy.create_publisher(Float64, "~/latency/total", 10)
        self.status = self.policy.create_publisher(DiagnosticArray, "~/status", 10)
        self.state = self.command.create_publisher(String, "~/state", LATCHED)
        self.state.publish(String(data="tracking"))  # once, before anybody listens
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._speak, self._spin)]
        for thread in self._threads:
            thread.start()

    def _spin(self) -> None:
        while not self._ended.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def _speak(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
        from sensor_msgs.msg import CompressedImage, Image

        data = encode_jpeg(np.full((32, 32, 3), 128, np.uint8))
        pairs = [KeyValue(key=key, value=str(value)) for key, value in TICK.items()]
        while not self._ended.wait(0.05):
            image = CompressedImage(format=JPEG_FORMAT, data=data)
            image.header.stamp = self.policy.get_clock().now().to_msg()
            self.camera.publish(image)
            codes = Image(header=image.header, height=GRID, width=GRID, encoding="mono8", step=GRID)
            codes.data = bytes(GRID * GRID)
            self.selection.publish(codes)
            status = DiagnosticStatus(name="/policy: tick", level=b"\0", values=pairs)
            self.status.publish(DiagnosticArray(header=image.header, status=[status]))

    def close(self) -> None:
        """End it."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._executor.shutdown()
        self.policy.destroy_node()
        self.command.destroy_node()
        self._context.try_shutdown()


def wait(what: Callable[[], bool]) -> None:
    """Wait until something is so, at most PATIENCE."""
    end = time.monotonic() + PATIENCE
    while not what() and time.monotonic() < end:
        time.sleep(0.05)


def test_all_that_the_page_needs_is_recorded_also_of_a_policy_that_comes_later(tmp_path: Path) -> None:
    from rclpy.parameter import Parameter
    from std_msgs.msg import String

    from vla_entropy_ros.bags.record_run import record_run

    robots: list[Robot] = []
    said: list[str] = []

    def come() -> None:
        time.sleep(LATE)
        robots.append(Robot("/left"))
        wait(lambda: sum("begins with" in line for line in said) == 2)
        robots[0].policy.set_parameters([Parameter("k2", value=40)])
        once = robots[0].command.create_publisher(String, "instruction", 1)
        wait(lambda: once.get_subscription_count() >= 2)
        once.publish(String(data="push"))
        time.sleep(LATE)
        os.kill(os.getpid(), signal.SIGINT)

    robot = threading.Thread(target=come)
    robot.start()
    try:
        counts = record_run(tmp_path / "bag", 3 * PATIENCE, said.append)
    finally:
        robot.join()
        robots[0].close()
    assert min(counts["/left/policy/status"], counts["/left/policy/selection"], counts["/left/image/compressed"]) > 10
    assert counts["/left/command/state"] == counts["/left/instruction"] == 1
    assert "/left/image" not in counts
    assert "/left/policy/status" in " ".join(said)
    figures = write_page(tmp_path / "bag", tmp_path / "page.html")
    (change,) = figures["changes"]
    assert {key: change[key] for key in ("node", "name", "old", "new")} == {
        "node": "/left/policy", "name": "k2", "old": "24", "new": "40",
    }  # fmt: skip
    assert "drawn" in {moment["picture"] for moment in figures["moments"]}
    assert [line for line in figures["missing"] if "selection" in line or "image" in line] == []


def test_a_policy_that_is_started_anew_is_asked_anew(tmp_path: Path) -> None:
    from rclpy.parameter import Parameter

    from vla_entropy_ros.bags.record_run import record_run

    said: list[str] = []

    def begun(times: int) -> bool:
        return sum("/left/policy begins with" in line for line in said) == times

    def come_twice() -> None:
        for times, k2 in enumerate((24, 30), start=1):
            robot = Robot("/left", k2)
            wait(partial(begun, times))
            robot.policy.set_parameters([Parameter("k2", value=2 * k2)])
            time.sleep(LATE)
            robot.close()
            time.sleep(LATE)
        os.kill(os.getpid(), signal.SIGINT)

    robots = threading.Thread(target=come_twice)
    robots.start()
    try:
        record_run(tmp_path / "bag", 4 * PATIENCE, said.append)
    finally:
        robots.join()
    changes = write_page(tmp_path / "bag", tmp_path / "page.html")["changes"]
    assert [(change["old"], change["new"]) for change in changes if change["name"] == "k2"] == [
        ("24", "48"),
        ("30", "60"),
    ]


def test_nothing_is_written_where_no_policy_comes(tmp_path: Path) -> None:
    from vla_entropy_ros.bags.record_run import record_run

    with pytest.raises(BagError, match="no policy has come, nothing is written: start one"):
        record_run(tmp_path / "bag", 0.5, lambda _: None)
    assert not (tmp_path / "bag").exists()


def test_what_a_publisher_has_kept_is_recorded_of_single_topics_too(tmp_path: Path) -> None:
    from vla_entropy_ros.bags.record_topics import record_live

    robot = Robot()
    try:
        counts = record_live(tmp_path / "bag", ["/command/state", "/policy/status"], 2.0)
    finally:
        robot.close()
    assert counts["/command/state"] == 1
    assert counts["/policy/status"] > 10
