"""The executables end at once, with the node's status: also while a checkpoint is being loaded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from vla_entropy_ros.nodes.policy import node as policy_node

PROGRAM = """
import sys, threading, time, types
from vla_entropy_ros.nodes import start
module = types.ModuleType("vla_entropy_ros.nodes.sluggish.node")
class Sluggish:
    def __del__(self): time.sleep(60)
module.kept = Sluggish()
module.main = lambda: print("closed") or {status}
sys.modules[module.__name__] = module
raise SystemExit(start.start("sluggish"))
"""
LOADING = """
import time
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from vla_entropy_ros.nodes.policy import node as policy_node
def load(self, values):
    print("loading", flush=True)
    time.sleep(60)
policy_node.PolicyNode._load = load
made = policy_node.PolicyNode.__init__
def begin(self, *args, **options):
    made(self, *args, **options)
    {begin}
policy_node.PolicyNode.__init__ = begin
from vla_entropy_ros.nodes.start import start
start("policy")
"""
UNSETTLED = """
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from vla_entropy_ros.nodes.common.process import run
class Busy(Node):
    left = 3
    def __init__(self, stop, cli_args):
        super().__init__("busy")
        self.timer = self.create_timer(0.05, lambda: setattr(self, "left", self.left - stop.requested))
        print("begun", flush=True)
def close(node):
    print("closed", node.left, flush=True)
raise SystemExit(run("busy", Busy, close, [], MultiThreadedExecutor, lambda node: node.left <= 0))
"""

BEGIN = {
    "by itself": "timer = self.create_timer(0.01, lambda: (timer.cancel(), self.trigger_configure()))",
    "asked over DDS": """client = self.create_client(ChangeState, "policy/change_state")
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    timer = self.create_timer(0.01, lambda: client.service_is_ready() and (timer.cancel(), client.call_async(request)))
""",
}


@pytest.mark.parametrize("status", [0, 1])
def test_nothing_is_taken_to_pieces_at_the_end(status: int) -> None:
    program = PROGRAM.format(status=status)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert (run.returncode, run.stdout) == (status, "closed\n"), run.stderr


def test_a_node_that_can_not_be_imported_says_so() -> None:
    program = "from vla_entropy_ros.nodes.start import start; start('absent')"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("absent can't start: ")


@pytest.mark.parametrize("begin", BEGIN)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_checkpoint_is_loaded_ends_the_policy(number: signal.Signals, begin: str) -> None:
    program = LOADING.format(begin=BEGIN[begin])
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        began = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=50)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert time.monotonic() - began < 20.0  # as much as a busy machine needs; the loading takes 60
    assert "the node ends before the checkpoint is loaded" in errors
    assert "Traceback" not in errors


def test_a_node_that_has_something_to_finish_is_spun_until_it_has() -> None:
    with subprocess.Popen([sys.executable, "-c", UNSETTLED], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=50)
        finally:
            process.kill()
    assert (process.returncode, said) == (0, "closed 0\n")


def test_the_policys_process_lets_go_of_the_interpreter_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.getswitchinterval()
    monkeypatch.setattr(policy_node, "run", lambda *_: round(1e6 * sys.getswitchinterval()))
    try:
        assert policy_node.main([]) == 500
    finally:
        sys.setswitchinterval(before)
