"""The checks against full recomputation as the node has them: at configure, on topics, in the diagnostics, the mode."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Float64

from ...engine import DeviceLostError, Observation
from ..common.diagnostics import ERROR, OK, WARN, Report
from ..common.listen import LATCHED
from ..common.parameters import Parameters
from ..common.process import one_line
from ..common.worker import WorkerError, answer_into
from .checks import Checks, Findings
from .inputs import EXAMPLE, Inputs
from .intake import Frames, Intake
from .orders import Options, options_of
from .reports import ALONE, Bounds, Scene, inactive
from .statistics import Statistics

if TYPE_CHECKING:
    from ...engine import Policy
    from ...engine.actions.check import Agreement
    from .inference import Inference

IMAGES, PATIENCE = 4, 1.0  # of the robot's that are taken at configure, and seconds that they have to come
ENOUGH = 5.0  # seconds after which no further one of these is run
POLL = 0.005  # seconds between two looks at what has come
RISK = 0.5  # share of a bound above which it is said
AFTER = "checked at the first ticks instead"


@dataclass(frozen=True)
class Rehearsal:
    """An episode over what the cameras show at configure: its images, and the agreement of ticks that reused."""

    images: int
    agreements: tuple[Agreement, ...] = ()


class SelfCheck:
    """Topics, the task of the diagnostics, and the way to mode full; `checks` is for the inference thread."""

    def __init__(self, node: LifecycleNode, settings: Parameters) -> None:
        self._node, self._settings = node, settings
        self._tokens = node.create_publisher(Float64, "~/self_check/tokens", LATCHED)
        self._translation = node.create_publisher(Float64, "~/self_check/translation", LATCHED)
        self._rotation = node.create_publisher(Float64, "~/self_check/rotation", LATCHED)
        self.checks = Checks(self._publish, self._exceed)
        self._mode = settings.values["mode"]

    def rehearse(self, inference: Inference, inputs: Inputs | None, wait: bool, given_up: Callable[[], bool]) -> None:
        """Check what the cameras show now; wait: whether images can come, because callbacks run meanwhile.

        WorkerError as soon as `given_up()`, DeviceLostError; whatever else fails is said, and the first ticks tell.
        """
        self.checks.configure()
        options = options_of(self._settings.values)
        if options.tunables.mode == "full":
            return
        try:
            ready = wait and inputs is not None and all(camera.offered for camera in inputs.cameras)
            done = inference.rehearse(options.default_instruction or EXAMPLE, given_up) if ready else Rehearsal(0)
        except (DeviceLostError, WorkerError):
            raise
        except Exception as error:  # noqa: BLE001  (whatever torch raises: the policy has passed its own test)
            self._say(f"not checked at configure: {one_line(error)}: {AFTER}")
            return
        self.checks.note(done.agreements, options, counts=bool(options.default_instruction))
        self._say(_told(done, ready))

    def follow(self) -> None:
        """The parameters have changed: another mode than full begins anew."""
        mode = self._settings.values["mode"]
        if mode not in ("full", self._mode):
            self.checks.anew()
        self._mode = mode

    def report(self, now: Statistics, bounds: Bounds, scene: Scene = ALONE) -> Report:
        """Does the accelerated path agree with full recomputation?"""
        found, options = self.checks.look(), options_of(self._settings.values)
        values: dict[str, object] = {
            "checks": found.total,
            "equal tokens, mean": f"{found.mean('tokens'):.1%}" if found.window else "-",
            "deviation, last": ", ".join(_figures(found.window[-1])) if found.window else "-",
            "at configure": found.rehearsed or "-",
        }
        return replace(_state(now, found, options, scene), values=values)

    def _publish(self, agreement: Agreement) -> None:
        """Called on the inference thread, off the critical path."""
        self._tokens.publish(Float64(data=agreement.tokens))
        self._translation.publish(Float64(data=agreement.translation))
        self._rotation.publish(Float64(data=agreement.rotation))

    def _exceed(self, line: str) -> None:
        """Called on the inference thread: ticks compute everything from now on, and the parameter shall tell so."""
        self._node.get_logger().error(line)
        executor = self._node.executor
        if executor is not None:
            executor.create_task(answer_into, self._adopt, Future())  # parameters belong to the executor's thread

    def _adopt(self) -> None:
        if self.checks.look().exceeded is not None:  # nobody has set another mode meanwhile
            self._settings.adopt({"mode": "full"})

    def _say(self, words: str) -> None:
        self.checks.rehearsed(words)
        line = f"self check: {words}"
        self._node.get_logger().info(line)


def collect(intake: Intake, cameras: int, given_up: Callable[[], bool]) -> list[Frames]:
    """The first sets of images that come within PATIENCE, IMAGES at most; the intake is closed again after it."""
    found: list[Frames] = []
    end = time.monotonic() + PATIENCE
    intake.begin(cameras)
    try:
        while len(found) < IMAGES and time.monotonic() < end and not given_up():
            frames = intake.take()
            if frames is None:
                time.sleep(POLL)
            else:
                found.append(frames)
    finally:
        intake.end()
    return found


def rehearse(policy: Policy, observations: list[Observation], given_up: Callable[[], bool]) -> Rehearsal:
    """Answer and check `observations` as an episode, until ENOUGH has passed; begins a new one."""
    found: list[Agreement] = []
    end = time.monotonic() + ENOUGH
    policy.reset()
    try:
        for observation in observations:
            if given_up() or time.monotonic() > end:
                break
            result = policy.infer(observation)
            policy.settle()
            if result.reuse.reused:
                found.append(policy.compare(observation, result))
    finally:
        policy.reset()
    return Rehearsal(len(observations), tuple(found))


def _told(done: Rehearsal, ready: bool) -> str:
    """What a rehearsal came to."""
    if not ready:
        return f"nobody sends images yet: {AFTER}"
    if not done.images:
        return f"no image within {PATIENCE:g} s: {AFTER}"
    if not done.agreements:
        return f"nothing was reused over {done.images} images: {AFTER}"
    worst = max(done.agreements, key=lambda one: one.translation + one.rotation)
    return f"over {done.images} images at most {', '.join(_figures(worst))}"


def _figures(agreement: Agreement) -> list[str]:
    """Deviations with their units."""
    return [f"{agreement.translation:.4f} m", f"{agreement.rotation:.4f} rad", f"other {agreement.other:.3g}"]


def _state(now: Statistics, found: Findings, options: Options, scene: Scene) -> Report:
    """Level and line of the task."""
    if not now.active:
        return inactive(scene)
    if found.exceeded is not None:
        return Report(ERROR, found.exceeded)
    if options.tunables.mode == "full":
        return Report(OK, "nothing to check: mode full computes everything")
    if found.failure is not None:
        return Report(WARN, f"the last check failed: {found.failure}")
    if not found.window:
        return Report(WARN, "not checked yet: no tick has reused anything")
    moved, turned, share = (found.mean(name) for name in ("translation", "rotation", "tokens"))
    figures = f"{share:.0%} of the tokens are equal, actions {moved:.4f} m and {turned:.4f} rad off full recomputation"
    if found.beyond(options, RISK):
        return Report(WARN, f"at risk of mode full: {figures}")
    return Report(OK, f"agrees: {figures}, in the mean of {len(found.window)} checks")
