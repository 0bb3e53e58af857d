"""The policy node over DDS, with a real checkpoint of random weights."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float64, Int32, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_entropy_ros.draw import overlay
from vla_entropy_ros.engine import Policy, Result
from vla_entropy_ros.nodes.inference import Inference
from vla_entropy_ros.nodes.messages import chunk_from, image_message, jpeg_message, seconds
from vla_entropy_ros.nodes.policy_node import PolicyNode
from vla_entropy_ros.nodes.settings import resolve_checkpoint
from vla_entropy_ros.nodes.telemetry import STAGES

PERIOD = 0.01  # seconds between ticks
INSTRUCTION = "pick up the red cube"
ERROR, OK, STALE, WARN = DiagnosticStatus.ERROR, DiagnosticStatus.OK, DiagnosticStatus.STALE, DiagnosticStatus.WARN


class Robot:
    """The policy node on a stage, with a camera and an operator."""

    def __init__(self, stage: Any, checkpoint: Path | str, **overrides: Any) -> None:
        self.stage = stage
        # A slow machine must not fail these tests: how old an image may be is what another one is about.
        values = {"checkpoint": str(checkpoint), "max_observation_age": 10.0, "control_period": PERIOD}
        values |= {"k1": 2, "k2": 3, "row_budget": 0, **overrides}  # for 16 visual tokens
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        self.node: PolicyNode = stage.add(PolicyNode(parameter_overrides=parameters))
        self.chunks = stage.listen(JointTrajectory, "action_chunk")
        self.random = np.random.default_rng(0)

    @property
    def inference(self) -> Inference:
        """The configured node's inference."""
        assert self.node._inference is not None
        return self.node._inference

    @property
    def policy(self) -> Policy:
        """The configured node's policy."""
        assert self.node._policy is not None
        return self.node._policy

    def change(self, transition: int) -> bool:
        """Whether a lifecycle transition succeeded."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.stage.call(ChangeState, "/policy/change_state", request).success)

    @property
    def state(self) -> int:
        """Lifecycle state."""
        return int(self.stage.call(GetState, "/policy/get_state").current_state.id)

    def activate(self, instruction: str = INSTRUCTION) -> Robot:
        """Configure, activate and instruct."""
        assert self.change(Transition.TRANSITION_CONFIGURE)
        assert self.change(Transition.TRANSITION_ACTIVATE)
        self.images = self.stage.publisher(Image, "image")
        self.instructions = self.stage.publisher(String, "instruction")
        if instruction:
            self.instruct(instruction)
        return self

    def instruct(self, text: str) -> None:
        """Publish an instruction and wait until it has arrived."""
        self.instructions.publish(String(data=text))
        self.stage.until(lambda: self.inference.instruction == text.strip(), f"instruction '{text}'")

    def image(self, size: int = 56) -> Image:
        """A random image of now."""
        pixels = self.random.integers(0, 256, (size, size, 3), np.uint8)
        return image_message(pixels, self.now(), "camera_link")

    def now(self) -> Time:
        """ROS time, one control period after any other stamp: an earlier image would be skipped."""
        time.sleep(1.5 * PERIOD)
        stamp: Time = self.node.get_clock().now().to_msg()
        return stamp

    def see(self, message: Image | None = None) -> Image:
        """Publish an image."""
        message = message or self.image()
        self.images.publish(message)
        return message

    def tick(self) -> JointTrajectory:
        """Publish an image and wait for its chunk."""
        stamp = self.see().header.stamp
        self.stage.until(lambda: any(chunk.header.stamp == stamp for chunk in self.chunks), "a chunk")
        return self.chunks[-1]

    def quiet(self, done: Callable[[], bool], what: str) -> None:
        """Wait until `done`, and a little longer; no chunk may come."""
        before = len(self.chunks)
        self.stage.until(done, what)
        time.sleep(0.1)
        assert len(self.chunks) == before


@pytest.fixture
def robot(stage: Any, checkpoint: Path) -> Iterator[Robot]:
    """A robot that acts."""
    yield Robot(stage, checkpoint, k1=2, k2=3, row_budget=0).activate()


def test_the_lifecycle_goes_round_and_only_an_active_node_acts(stage: Any, checkpoint: Path) -> None:
    robot = Robot(stage, checkpoint)
    assert robot.state == State.PRIMARY_STATE_UNCONFIGURED
    assert robot.change(Transition.TRANSITION_CONFIGURE)
    assert robot.state == State.PRIMARY_STATE_INACTIVE
    began = time.monotonic()
    assert robot.change(Transition.TRANSITION_ACTIVATE)
    assert time.monotonic() - began < 1.0
    robot.images = stage.publisher(Image, "image")
    robot.instructions = stage.publisher(String, "instruction")
    robot.instruct(INSTRUCTION)
    robot.tick()
    assert robot.change(Transition.TRANSITION_DEACTIVATE)
    robot.see()
    robot.quiet(lambda: robot.state == State.PRIMARY_STATE_INACTIVE, "the inactive state")
    assert robot.change(Transition.TRANSITION_ACTIVATE)
    robot.see()
    robot.quiet(lambda: robot.inference.counters.received == 2, "an image")
    robot.instruct(INSTRUCTION)  # the one before was forgotten
    robot.tick()
    assert robot.change(Transition.TRANSITION_DEACTIVATE)
    assert robot.change(Transition.TRANSITION_CLEANUP)
    assert robot.node._inference is None
    assert robot.change(Transition.TRANSITION_CONFIGURE)
    assert robot.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN) is False  # not from here
    assert robot.change(Transition.TRANSITION_INACTIVE_SHUTDOWN)
    assert robot.state == State.PRIMARY_STATE_FINALIZED


@pytest.mark.parametrize("fault", ["missing folder", "truncated file", "unknown device", "unknown key", "budget"])
def test_configure_fails_in_one_line(
    stage: Any, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    folder = checkpoint
    overrides: dict[str, Any] = {}
    if fault == "missing folder":
        folder = tmp_path / "nowhere"
    elif fault == "truncated file":
        folder = tmp_path
        for path in checkpoint.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
    elif fault == "unknown device":
        overrides = {"device": "abacus"}
    elif fault == "budget":
        overrides = {"row_budget": 17}
    else:
        overrides = {"unnorm_key": "elsewhere"}
    robot = Robot(stage, folder, **overrides)
    assert not robot.change(Transition.TRANSITION_CONFIGURE)
    assert robot.state == State.PRIMARY_STATE_UNCONFIGURED  # FAILURE, not ERROR: it may be tried again
    said = capfd.readouterr().err
    (line,) = [line for line in said.splitlines() if "configure failed" in line]
    assert line.startswith("[ERROR]")
    assert "Traceback" not in said
    assert threading.active_count() < 20
    stage.diagnostic("policy: inference", lambda status: status.level == ERROR and status.message in line)


def test_a_blind_policy_is_not_configured(
    stage: Any, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    for path in checkpoint.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(checkpoint / "model.safetensors")
    blind = {name: t * 0 if name.startswith("projector.") else t for name, t in tensors.items()}
    save_file(blind, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert not Robot(stage, tmp_path).change(Transition.TRANSITION_CONFIGURE)
    assert "a black and a white image give the same logits" in capfd.readouterr().err


def test_a_chunk_answers_the_image_of_its_stamp(robot: Robot) -> None:
    stamps = []
    for _ in range(3):
        stamps.append(robot.see().header.stamp)
        robot.stage.until(lambda: len(robot.chunks) == len(stamps), "a chunk")
    assert [chunk.header.stamp for chunk in robot.chunks] == stamps
    chunk = chunk_from(robot.chunks[0])
    assert (chunk.frame, chunk.actions.shape) == ("base_link", (1, 7))
    assert chunk.period == pytest.approx(PERIOD)
    assert np.isfinite(chunk.actions).all()
    assert seconds(stamps[0]) == chunk.stamp


def test_compressed_images_do_as_well(robot: Robot) -> None:
    publisher = robot.stage.publisher(CompressedImage, "image/compressed")
    pixels = robot.random.integers(0, 256, (56, 56, 3), np.uint8)
    message = jpeg_message(pixels, robot.now(), "camera_link")
    publisher.publish(message)
    robot.stage.until(lambda: len(robot.chunks) == 1, "a chunk")
    assert robot.chunks[0].header.stamp == message.header.stamp


def test_every_tick_is_told_in_numbers(stage: Any, checkpoint: Path) -> None:
    latencies = {stage_name: stage.listen(Float64, f"/policy/latency/{stage_name}") for stage_name in STAGES}
    fresh, reused = (stage.listen(Int32, f"/policy/tokens/{name}") for name in ("fresh", "reused"))
    selections = stage.listen(Image, "/policy/selection")
    robot = Robot(stage, checkpoint, k1=2, k2=3, row_budget=0, mode="info_entropy").activate()
    image = robot.image()
    for _ in range(3):
        image.header.stamp = robot.now()
        robot.see(image)
        count = len(robot.chunks) + 1
        stage.until(lambda count=count: len(robot.chunks) == count, "a chunk")
    stage.until(lambda: all(len(m) == 3 for m in (*latencies.values(), fresh, reused, selections)), "all numbers")
    visual = robot.policy.info.visual_tokens
    assert [f.data + r.data for f, r in zip(fresh, reused, strict=True)] == [visual] * 3
    assert (fresh[0].data, reused[2].data > 0) == (visual, True)
    for number in range(3):
        stages = {name: latencies[name][number].data for name in STAGES}
        parts = sum(stages[name] for name in ("preprocess", "vision", "select", "prefill", "decode"))
        assert 0 < parts <= stages["total"] * 1.001
        assert 0 <= stages["capture_age"] < 10e3
    codes = np.frombuffer(selections[2].data, np.uint8)
    assert (selections[2].height, selections[2].width) == robot.policy.info.grid
    assert selections[2].header.stamp == robot.chunks[2].header.stamp
    assert np.count_nonzero(codes) == fresh[2].data
    assert set(codes) <= {0, 2, 3, 4}  # nothing changed: what is fresh is so because it matters
    assert set(np.frombuffer(selections[0].data, np.uint8)) == {1}


def test_the_overlay_is_drawn_only_while_somebody_looks(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[None] = []

    def counted(*arguments: Any) -> Any:
        drawn.append(None)
        return overlay(*arguments)

    monkeypatch.setattr("vla_entropy_ros.nodes.telemetry.overlay", counted)
    robot.tick()
    time.sleep(0.1)
    assert drawn == []
    overlays = robot.stage.listen(Image, "/policy/overlay")
    robot.stage.until(lambda: robot.node.count_subscribers("/policy/overlay") > 0, "a listener")

    def seen() -> bool:
        robot.tick()
        return len(overlays) > 0

    robot.stage.until(seen, "an overlay")
    assert (overlays[0].height, overlays[0].width, overlays[0].encoding) == (448, 448, "rgb8")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("mode", "sometimes", "valid are full, vla_cache, visual_only, attention_only, static_union, info_entropy"),
        ("k1", -1, "Min: 0"),
        ("T", 0, "Min: 1"),
        ("k1", 200, "k1 200 is above k2"),
        ("checkpoint", "elsewhere", "read-only"),
        ("device", "cuda", "read-only"),
        ("similarity_threshold", 1.5, "Max: 1.0"),
    ],
)
def test_a_wrong_value_is_refused_with_the_valid_ones(stage: Any, name: str, value: object, said: str) -> None:
    node = PolicyNode()
    answer = node.set_parameters_atomically([Parameter(name, value=value)])
    assert (answer.successful, said in answer.reason) == (False, True), answer.reason
    node.close()
    node.destroy_node()


@pytest.mark.parametrize(("name", "value", "said"), [("row_budget", 17, "row_budget 17"), ("k2", 16, "k1 + k2 18")])
def test_a_budget_above_the_policys_tokens_is_refused_live(robot: Robot, name: str, value: int, said: str) -> None:
    answer = robot.stage.set_parameter("policy", name, value)
    assert (answer.successful, answer.reason) == (
        False, f"{said} is above the visual tokens of this policy: valid are 0 to 16"
    )  # fmt: skip


def test_a_changed_parameter_shows_in_the_next_tick(robot: Robot) -> None:
    fresh = robot.stage.listen(Int32, "/policy/tokens/fresh")
    image = robot.image()

    def again() -> int:
        count = len(fresh)
        image.header.stamp = robot.now()
        robot.see(image)
        robot.stage.until(lambda: len(fresh) == count + 1, "a tick")
        return int(fresh[-1].data)

    visual = again()
    assert again() < visual
    assert robot.stage.set_parameter("policy", "mode", "full").successful
    assert again() == visual
    assert robot.stage.set_parameter("policy", "mode", "info_entropy").successful
    assert again() <= 2 + 3
    assert robot.stage.set_parameter("policy", "row_budget", 9).successful
    assert again() == 9
    assert robot.stage.set_parameter("policy", "control_period", 1).successful
    time.sleep(0.8)
    again()
    assert robot.chunks[-1].points[0].time_from_start.sec == 1


def test_parameters_answer_while_a_tick_runs(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = threading.Event(), threading.Event()
    infer = Policy.infer

    def held(policy: Policy, observation: Any) -> Result:
        inside.set()
        assert go_on.wait(10.0)
        return infer(policy, observation)

    monkeypatch.setattr(Policy, "infer", held)
    robot.see()
    assert inside.wait(10.0)
    assert robot.stage.set_parameter("policy", "T", 7).successful
    assert robot.chunks == []
    status = robot.stage.diagnostic("policy: inference", lambda status: status.level == STALE)
    assert "a tick has been running for" in status.message or "no tick" in status.message
    go_on.set()
    robot.stage.until(lambda: len(robot.chunks) == 1, "a chunk")


def test_an_unusable_image_gives_a_diagnostic_and_no_action(robot: Robot) -> None:
    def refused(said: str) -> bool:
        return said in robot.inference.observation_fault

    def error(said: str, status: DiagnosticStatus) -> bool:
        return status.level == ERROR and said in status.message

    robot.tick()
    unknown, empty = robot.image(), robot.image()
    unknown.encoding = "yuv9"
    empty.width = empty.height = empty.step = 0
    empty.data = array.array("B")
    for message, said in ((unknown, "unknown encoding 'yuv9': valid are rgb8"), (empty, "zero size")):
        message.header.stamp = robot.now()
        robot.see(message)
        robot.quiet(partial(refused, said), said)
        robot.node._diagnostics.publish()
        robot.stage.diagnostic("policy: observation", partial(error, said))
    robot.tick()
    robot.node._diagnostics.publish()
    robot.stage.diagnostic("policy: observation", lambda status: status.level == OK)


def test_an_empty_instruction_stops_the_action(robot: Robot, capfd: pytest.CaptureFixture[str]) -> None:
    robot.tick()
    robot.instruct("  ")
    assert "empty instruction refused" in capfd.readouterr().err
    received = robot.inference.counters.received
    robot.see()
    robot.quiet(lambda: robot.inference.counters.received > received, "an image")
    robot.node._diagnostics.publish()
    status = robot.stage.diagnostic("policy: inference", lambda status: status.level == WARN)
    assert "no instruction" in status.message
    robot.instruct(INSTRUCTION)
    robot.tick()


def test_an_action_that_is_no_number_is_not_published(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    robot.tick()
    infer = Policy.infer

    def broken(policy: Policy, observation: Any) -> Result:
        result = infer(policy, observation)
        return replace(result, actions=result.actions * np.nan)

    with monkeypatch.context() as patch:
        patch.setattr(Policy, "infer", broken)
        robot.see()
        robot.quiet(lambda: robot.inference.fault != "", "a fault")
        robot.node._diagnostics.publish()
        status = robot.stage.diagnostic("policy: inference", lambda status: status.level == ERROR)
        assert "not a finite number" in status.message
    fresh = robot.stage.listen(Int32, "/policy/tokens/fresh")
    time.sleep(0.2)
    robot.tick()
    robot.stage.until(lambda: len(fresh) == 1, "a count")
    assert fresh[0].data == robot.policy.info.visual_tokens


def test_an_old_image_gives_a_warning(robot: Robot) -> None:
    assert robot.stage.set_parameter("policy", "max_observation_age", 0.5).successful
    old = robot.image()
    old.header.stamp.sec -= 3
    robot.see(old)
    robot.quiet(lambda: robot.inference.counters.too_old == 1, "an old image")
    robot.node._diagnostics.publish()
    status = robot.stage.diagnostic("policy: observation", lambda status: status.level == WARN)
    assert "s old, valid up to 0.5" in status.message


def test_reset_makes_everything_fresh(robot: Robot) -> None:
    image = robot.image()
    fresh = robot.stage.listen(Int32, "/policy/tokens/fresh")
    counts = []
    for number in range(3):
        if number == 2:
            assert robot.stage.call(Trigger, "/policy/reset").success
        image.header.stamp = robot.now()
        robot.see(image)
        robot.stage.until(lambda number=number: len(fresh) == number + 1, "a tick")
        counts.append(fresh[-1].data)
    assert counts[1] < counts[0] == counts[2]


def test_a_checkpoint_is_a_path_or_the_name_of_a_shipped_one(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vla_entropy_ros import resources

    monkeypatch.setattr(resources, "default_checkpoint", lambda: checkpoint.parent / "small_policy")
    assert resolve_checkpoint("") == checkpoint.parent / "small_policy"
    assert resolve_checkpoint("random_policy") == checkpoint
    assert resolve_checkpoint("elsewhere") == Path("elsewhere")
    assert resolve_checkpoint(str(checkpoint)) == checkpoint
