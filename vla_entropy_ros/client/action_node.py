"""The action `policy/run`, for whoever speaks actions; its type is in a package that need not be there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node

from ..nodes.common.process import Stop, run
from .action import MOST, Adapter
from .client import VlaClient

ACTION = "policy/run"
BUILD = "colcon build --base-paths src/vla_entropy_ros src/vla_entropy_ros/vla_entropy_interfaces"
PATIENCE = 3.0  # seconds that a node may take to answer: two such waits may stand before an end in order


class ActionNode(Node):
    """The action `policy/run` of the type `kind`, in the node's namespace."""

    def __init__(self, kind: Any, stop: Stop, cli_args: list[str] | None = None) -> None:
        super().__init__("action", cli_args=cli_args)
        name, feedback = f"{self.get_name()}_client", f"{ACTION}/_action/feedback"
        self._client = VlaClient(self.get_namespace(), context=self.context, patience=PATIENCE, name=name)
        self._adapter = Adapter(kind, self._client, lambda: self.count_subscribers(feedback), lambda: stop.requested)
        self._server = ActionServer(
            self, kind, ACTION, self._adapter.execute,
            goal_callback=self._adapter.take, cancel_callback=lambda _: CancelResponse.ACCEPT,
        )  # fmt: skip

    @property
    def settled(self) -> bool:
        """Whether every goal has ended, and every client was told."""
        return self._adapter.settled

    def close(self) -> None:
        """Leave the graph."""
        self._server.destroy()
        self._client.close()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal; returns the exit status, 1 where the action's type is not built."""
    try:
        from vla_entropy_interfaces.action import RunInstruction
    except ImportError:
        sys.stderr.write(
            "action can't start: the type of the action is not there. In the workspace's root: "
            f"{BUILD} && source install/setup.bash\n"
        )
        return 1
    executor = partial(MultiThreadedExecutor, num_threads=2 * MOST)
    make = partial(ActionNode, RunInstruction)
    return run("action", make, ActionNode.close, args, executor, lambda node: node.settled)
