"""The simulated arm as a node: camera, joint states and pose out; pose and gripper commands in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.parameter import Parameter
from rclpy.time import Time as RosTime
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Bool, Float64, String
from std_srvs.srv import Trigger

from ...control import Pose
from ...settings import default_settings
from ...sim import EVERY_TASK, Environment, find_task
from ..common.diagnostics import OK, WARN, Diagnostics, Report, RollingWindow
from ..common.listen import LATCHED
from ..common.messages import image_message, jpeg_message, pose_in, pose_message, seconds
from ..common.parameters import Parameters, TunableNode, Values
from ..common.process import Stop, one_line, run
from ..common.worker import Mailbox, Worker, WorkerError
from .settings import SIMULATOR_SETTINGS

STEP = 0.02  # seconds of physics between two joint states
BEHIND = 0.1  # seconds that are made up for; what is more is lost, so a slow machine never spirals
START_TIME = 60.0  # seconds to build the scene and draw the first image
RESET_TIME = 5.0  # seconds
AWAY = 0.4  # seconds without joints and pose after a reset: an arm that were elsewhere at once would be a fault
SLOW = 0.9  # share of real time below which a warning is due
LOG_PERIOD = 5.0  # seconds between two lines about the same refusal


class SimulatorNode(TunableNode):
    """One thread owns the environment, steps it in real time and publishes; callbacks leave commands in mailboxes."""

    def __init__(self, stop: Stop | None = None, **node_options: Any) -> None:
        super().__init__("simulator", **node_options)
        self._stop = stop or Stop()
        self._settings = Parameters(
            self, SIMULATOR_SETTINGS, default_settings("simulator"), lambda values: find_task(values["task"])
        )
        self._frame: str = self._settings.values["action_frame"]
        self._simulated = time.time_ns()  # nanoseconds: begins with the day's time and goes on with the physics
        self._time = self.create_publisher(Clock, "/clock", 1) if self._tells_time else None
        self._target: Mailbox[tuple[float, Pose]] = Mailbox()  # its time [s], the pose
        self._opening: Mailbox[float] = Mailbox()
        self._not_before = 0.0  # seconds: targets meant for an earlier episode are left aside
        self._due = self._image_due = 0.0
        self._steps, self._lost = RollingWindow(), 0.0
        self._publish_on()
        self._worker = Worker("simulator", self._turn, self._die)
        try:
            self._worker.call(self._build, START_TIME)
        except Exception:
            self._worker.stop()
            raise
        self._listen()
        self._diagnostics = Diagnostics(self, "simulator", {"simulation": self._report})
        self._worker.wake()

    def close(self) -> None:
        """End the thread; it lets go of the renderer, which belongs to it."""
        try:
            self._worker.call(self._environment.close, RESET_TIME)
        except WorkerError as error:
            self.get_logger().debug(one_line(error))
        self._worker.stop()

    @property
    def _tells_time(self) -> bool:
        """Whether simulated time is used: it is this node that makes it."""
        return bool(self.get_parameter("use_sim_time").value)

    def _now(self) -> Time:
        """Time of what is published: the simulated one itself, which the node's own clock has from /clock too late."""
        return (RosTime(nanoseconds=self._simulated) if self._time else self.get_clock().now()).to_msg()

    def _publish_on(self) -> None:
        self._images = self.create_publisher(Image, "image", 1)
        self._jpegs = self.create_publisher(CompressedImage, "image/compressed", 1)
        self._joints = self.create_publisher(JointState, "joint_states", 10)
        self._poses = self.create_publisher(PoseStamped, "current_pose", 1)
        self._success = self.create_publisher(Bool, "~/success", 1)
        self._instruction = self.create_publisher(String, "~/instruction", LATCHED)

    def _listen(self) -> None:
        self.create_subscription(PoseStamped, "target_pose", self._on_target, 1)
        self.create_subscription(Float64, "gripper_command", self._on_opening, 1)
        self.create_service(Trigger, "~/reset", lambda _, response: self._reset(response))
        for name in EVERY_TASK:
            self.create_service(Trigger, f"~/task/{name}", self._task_service(name))

    def _task_service(self, name: str) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        def choose(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            self.set_parameters([Parameter("task", value=name)])
            return self._reset(response)

        return choose

    def _reset(self, response: Trigger.Response) -> Trigger.Response:
        """Start the episode that the parameters name, and answer when it has begun."""
        values = self._settings.values
        try:
            self._worker.call(lambda: self._begin_episode(values), RESET_TIME)
        except WorkerError as error:
            response.success, response.message = False, f"no new episode: {one_line(error)}"
        else:
            response.success, response.message = True, f"{values['task']}, seed {values['seed']}"
        return response

    def _on_opening(self, message: Float64) -> None:
        self._opening.put(message.data)

    def _on_target(self, message: PoseStamped) -> None:
        try:
            self._target.put((seconds(message.header.stamp), pose_in(self._frame, message, "target_pose")))
        except ValueError as error:
            self.get_logger().error(one_line(error), throttle_duration_sec=LOG_PERIOD)

    # From here on: the simulator's own thread.

    def _build(self) -> None:
        self._environment = Environment(image_size=self._settings.values["camera.size"])
        self._environment.render()  # fails here, at once, where the machine can't draw
        self._begin_episode(self._settings.values)

    def _begin_episode(self, values: Values) -> None:
        self._environment.reset(values["task"], values["seed"])
        self._goal = self._environment.pose
        self._target.take()
        self._opening.take()
        self._not_before = seconds(self._now())
        self._due = self._image_due = time.monotonic()
        self._away_until = self._due + AWAY
        self._success.publish(Bool(data=False))
        self._asked = ""
        self._publish_instruction()
        self.get_logger().info(f"new episode: {values['task']}, seed {values['seed']}")

    def _publish_instruction(self) -> None:
        """Publish what the running goal asks for, once: a task may have several goals."""
        if self._environment.instruction != self._asked:
            self._asked = self._environment.instruction
            self._instruction.publish(String(data=self._asked))

    def _turn(self) -> float:
        """One step of physics, what it shows, and when the next one is due."""
        self._follow()
        self._environment.advance(STEP)
        self._simulated += round(STEP * 1e9)
        if self._time is not None:
            self._time.publish(Clock(clock=self._now()))
        self._steps.add(STEP)
        now = time.monotonic()
        if now >= self._away_until:
            self._publish_state()
        if now >= self._image_due:
            self._publish_image()
            period = 1.0 / self._settings.values["camera.rate"]
            self._image_due = max(self._image_due + period, now)
        self._due += STEP
        if (behind := time.monotonic() - self._due) > BEHIND:
            self._lost += behind
            self._due += behind
        return self._due

    def _follow(self) -> None:
        """Set the arm's target from the newest command."""
        target, opening = self._target.take(), self._opening.take()
        if target is not None and target[0] >= self._not_before:
            self._goal = target[1]
        elif opening is None:
            return
        try:
            self._environment.set_target(self._goal, opening)
        except ValueError as error:
            self.get_logger().error(one_line(error), throttle_duration_sec=LOG_PERIOD)

    def _publish_state(self) -> None:
        environment, stamp = self._environment, self._now()
        joints = JointState(
            name=list(environment.joint_names),
            position=environment.joint_positions.tolist(),
            velocity=environment.joint_velocities.tolist(),
        )
        joints.header.stamp, joints.header.frame_id = stamp, self._frame
        self._joints.publish(joints)
        self._poses.publish(pose_message(environment.pose, stamp, self._frame))

    def _publish_image(self) -> None:
        """Render the scene as it is now, for whoever subscribes."""
        self._success.publish(Bool(data=bool(self._environment.success)))
        self._publish_instruction()
        raw, jpeg = self._images.get_subscription_count(), self._jpegs.get_subscription_count()
        if not raw and not jpeg:
            return
        stamp, frame = self._now(), self._settings.values["camera.frame"]
        pixels = self._environment.render()
        if raw:
            self._images.publish(image_message(pixels, stamp, frame))
        if jpeg:
            self._jpegs.publish(jpeg_message(pixels, stamp, frame))

    def _die(self, error: Exception) -> None:
        self.get_logger().fatal(f"the simulation has ended: {type(error).__name__}: {one_line(error)}")
        self._stop.request(1)

    def _report(self) -> Report:
        """Does simulated time keep up with real time?"""
        steps = self._steps.look()
        factor = float(steps.numbers.sum()) / steps.span
        values: dict[str, object] = {
            "task": self._environment.task.name,
            "real-time factor": f"{factor:.2f}",
            "time lost [s]": f"{self._lost:.1f}",
        }
        if factor < SLOW:
            return Report(WARN, f"slower than real time: factor {factor:.2f}", values)
        return Report(OK, f"real-time factor {factor:.2f}", values)


def main(args: Sequence[str] | None = None) -> int:
    """Run the simulator node; returns the exit status."""
    return run("simulator", SimulatorNode, SimulatorNode.close, args)
