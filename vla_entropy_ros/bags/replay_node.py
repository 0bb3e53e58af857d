"""A recorded camera through the policy node: its messages as they were, its time as simulated time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory

from ..evaluation.bringup import brought_up
from ..evaluation.errors import need
from ..evaluation.witness import Witness
from ..nodes.common.messages import is_stop
from .bag import COMPRESSED, Bag, BagError
from .messages import Frame, JointStates, ToolPose
from .replay_engine import Replayed, Step

CLOCK_STEP = 0.02  # seconds of the bag between two messages on /clock
PATIENCE = 30.0  # seconds until the node listens
BEFORE = 1.0  # seconds for the clock to be heard
AFTER = 2.0  # seconds for the last answers, and for the diagnostics, of which there are some every second
PAUSE = 10.0  # seconds without an image that are waited for; time jumps over longer ones
EARLY, LATE = "between two ticks", "out of order"  # as the node counts them on its diagnostics
LOST = ("replaced by a newer one before a tick", "too old", "refused", "lost in transport", "faults", "dropped results")
UNTOLD = "no answer, and the node does not say why"


def replay_through_node(
    bag: Bag, folder: Path, domain: int, parameters: dict[str, Any], instruction: str | None
) -> Replayed:
    """Start the policy node under simulated time and play the bag to it in real time; raises RunError.

    instruction: that of the bag where it is None, the first one until there is another. A damaged bag is played up to
    the damage.
    """
    first = bag.instruction or "" if instruction is None else instruction
    given = {**parameters, "default_instruction": first, "use_sim_time": True}
    with brought_up({"policy": given}, folder, domain) as witness:
        return Player(witness, bag, first, follow=instruction is None).play()


class Player:
    """Publishes clock, images, states and instructions at the pace they were recorded; gathers what is answered.

    follow: whether the bag's later instructions replace the first one.
    """

    def __init__(self, witness: Witness, bag: Bag, instruction: str, follow: bool) -> None:
        self._witness, self._bag, self._followed, self._follow = witness, bag, [instruction], follow
        kind, topic = (CompressedImage, "image/compressed") if bag.kind == COMPRESSED else (Image, "image")
        node: Any = witness.client.node
        self._images = node.create_publisher(kind, topic, 1)
        self._states = {
            JointStates: node.create_publisher(JointState, "joint_states", 10),
            ToolPose: node.create_publisher(PoseStamped, "current_pose", 10),
        }
        self._clock = node.create_publisher(Clock, "/clock", 10)
        self._offset: int | None = None  # the bag's time minus ours [ns]
        self._chunks: dict[tuple[int, int], JointTrajectory] = {}
        self._told: dict[str, int] = {}  # by the node: images by what became of them
        self._trouble: dict[str, str] = {}  # by task, the last of it
        node.create_subscription(JointTrajectory, "action_chunk", self._keep, 100)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def play(self) -> Replayed:
        """Play all of the bag."""
        wait, node = self._witness.wait, self._witness.client.node
        wait(lambda: node.count_publishers("action_chunk") > 0, PATIENCE, "action_chunk")
        wait(lambda: self._images.get_subscription_count() > 0, PATIENCE, "a listener of the camera")
        wait(lambda: self._clock.get_subscription_count() > 0, PATIENCE, "a listener of the clock")
        count, last, damage = 0, 0, None
        try:
            for frame in self._bag.frames():
                self._pass_time(frame.recorded)
                self._publish(frame)
                last, count = frame.recorded, count + 1
        except BagError as error:
            damage = str(error)
        if count:
            self._pass_time(last + round(AFTER * 1e9))
        names, steps = self._steps()
        early, late = (min(self._told.get(name, 0), count - len(steps)) for name in (EARLY, LATE))
        refused = self._refused(count - len(steps) - early - late)
        notes = self._bag.notes + ([f"{task}: {said}" for task, said in self._trouble.items()] if refused else [])
        first, followed = self._followed[0], self._followed
        return Replayed(self._bag.topic, first, count, steps, refused, names, early, late, followed, notes, damage)

    def _publish(self, frame: Frame) -> None:
        """Send an image, and before it what was measured and asked for when it was seen."""
        if self._follow and frame.instruction not in (None, self._followed[-1]):
            self._followed.append(str(frame.instruction))
            need(self._witness.client.instruct(self._followed[-1]))
        for state in frame.measured:
            self._states[type(state)].publish(state.wire)
        self._images.publish(frame.wire)

    def _pass_time(self, until: int) -> None:
        """Let the clock go on to `until` [ns], the first of all from a little before."""
        if self._offset is None:
            self._offset = until - time.monotonic_ns() - round(BEFORE * 1e9)
        left = (until - self._offset - time.monotonic_ns()) * 1e-9
        self._offset += round(max(0.0, left - PAUSE) * 1e9)
        while (left := (until - self._offset - time.monotonic_ns()) * 1e-9) > 0:
            self._clock.publish(_clock(time.monotonic_ns() + self._offset))
            self._witness.spin(min(left, CLOCK_STEP))
        self._clock.publish(_clock(until))

    def _steps(self) -> tuple[tuple[str, ...], list[Step]]:
        """Names of the actions, and the ticks whose action was heard."""
        names: tuple[str, ...] = ()
        steps = []
        for tick in self._witness.take_ticks():
            stamp = round(tick.stamp * 1e9)
            near = (c for (sec, nanosec), c in self._chunks.items() if abs(sec * 10**9 + nanosec - stamp) < 1000)
            if (chunk := next(near, None)) is not None:
                names = tuple(chunk.joint_names)
                actions = [list(point.positions) for point in chunk.points]
                steps.append(Step(tick.stamp, actions, tick.latency, tick.fresh, tick.reused))
        return names, steps

    def _refused(self, left: int) -> dict[str, int]:
        """Why `left` images had no action, as far as the node tells."""
        refused: dict[str, int] = {}
        for name in LOST:
            if count := min(self._told.get(name, 0), left):
                refused[name], left = count, left - count
        return refused | ({UNTOLD: left} if left else {})

    def _keep(self, message: JointTrajectory) -> None:
        if not is_stop(message):
            self._chunks[message.header.stamp.sec, message.header.stamp.nanosec] = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._told |= {one.key: int(one.value) for one in status.values if one.key in (EARLY, LATE, *LOST)}
            if self._offset is not None and status.level in (DiagnosticStatus.WARN, DiagnosticStatus.ERROR):
                self._trouble[status.name] = status.message


def _clock(nanoseconds: int) -> Clock:
    return Clock(clock=Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9))
