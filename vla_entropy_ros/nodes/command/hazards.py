"""What must hold the arm although it is measured well: who else speaks, and what could not be heard."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory

from ..common.listen import SafetyInput, Speakers, publisher_names, subscribe
from ..common.messages import is_stop

LISTENING = 3.0  # seconds after the start in which a stop that was latched before is heard, on a busy machine too
LISTENS = "listening for an emergency stop from before the start"
LOOK_PERIOD = 0.5  # seconds between two looks at the graph


class Hazards:
    """Subscribes to chunks and to the emergency stop, and knows when they can't be relied on.

    on_chunk gets a chunk from the only one who sends them; on_conflict is called at the first of a second one instead;
    on_stop gets each message on `emergency_stop`, whatever quality of service it was sent with. listen_first: an arm
    that is enabled from the start waits until a stop from before would have been heard.
    """

    def __init__(
        self,
        node: Node,
        on_chunk: Callable[[JointTrajectory], None],
        on_conflict: Callable[[], None],
        on_stop: Callable[[Bool], None],
        listen_first: bool,
    ) -> None:
        self._node, self._on_chunk, self._on_conflict = node, on_chunk, on_conflict
        self._topic = node.resolve_topic_name("action_chunk")
        self._speakers = Speakers(node, "action_chunk")
        subscribe(node, JointTrajectory, "action_chunk", self._hear, QoSProfile(depth=1))
        self._stops = SafetyInput(node, Bool, "emergency_stop", on_stop)
        self._unheard: str | None = None
        self._listens_until = time.monotonic() + LISTENING if listen_first else -math.inf
        node.create_timer(LOOK_PERIOD, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def problem(self) -> str | None:
        """Why the arm must be held; None when nothing is against motion."""
        if self._unheard is not None:
            return f"an emergency stop could not be heard: {self._unheard}"
        if (names := self._speakers.several) is not None:
            return f"two publishers send action chunks on {self._topic}: {names}; end all but one"
        return None

    def listening(self) -> str | None:
        """Why nothing is sent yet, so soon after the start; None later."""
        return LISTENS if time.monotonic() < self._listens_until else None

    def crowd(self) -> str | None:
        """Who else could send chunks but is silent; None where there is one publisher at most. Asks the graph."""
        names = self._publishers()
        return f"several could send on {self._topic}: {', '.join(names)}; end all but one" if len(names) > 1 else None

    def waiting(self) -> str:
        """Why no chunk comes, as far as the graph tells, and what to do. Asks the graph."""
        names = self._publishers()
        if not names:
            return f"nobody publishes on {self._topic}: start the policy, or remap action_chunk"
        name = names[0]
        return f"{name} sends none on {self._topic}: is it active (ros2 lifecycle get {name}), and what does it say?"

    def _publishers(self) -> list[str]:
        return publisher_names(self._node.get_publishers_info_by_topic(self._topic))

    def _hear(self, message: JointTrajectory, info: Mapping[str, Any]) -> None:
        source = self._speakers.note(info)
        if is_stop(message):
            self._speakers.leave(source)  # who says stop is silent from now on
            self._on_chunk(message)
        elif self._speakers.several is not None:
            self._on_conflict()
        else:
            self._on_chunk(message)

    def _look(self) -> None:
        self._unheard = self._stops.mismatch()
