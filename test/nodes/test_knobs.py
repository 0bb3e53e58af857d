"""The policy's parameters over DDS: they tell what runs, how far they go, and whether anything listens."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import DescribeParameters, GetParameters
from rclpy.parameter import Parameter, parameter_value_to_python
from sensor_msgs.msg import Image

from vla_entropy_ros.engine import CheckpointError, Policy
from vla_entropy_ros.engine.tunables import BUDGETS, MOST_TOKENS, tunable
from vla_entropy_ros.nodes.common.messages import seconds
from vla_entropy_ros.nodes.simulator.node import SimulatorNode

from .robot import Robot

FIXED = "taper_rows 4: passes of fixed shapes compute every fresh token in all layers: valid is 0"


def tops(stage: Any) -> list[int]:
    """How far the token counts go, as tools see it."""
    request = DescribeParameters.Request(names=[tunable(field).name for field in BUDGETS])
    answer = stage.call(DescribeParameters, "/policy/describe_parameters", request)
    return [descriptor.integer_range[0].to_value for descriptor in answer.descriptors]


def get(stage: Any, name: str) -> Any:
    """As `ros2 param get`."""
    answer = stage.call(GetParameters, "/policy/get_parameters", GetParameters.Request(names=[name]))
    return parameter_value_to_python(answer.values[0])


def test_token_counts_go_as_far_as_the_loaded_policy_has_tokens(stage: Any, checkpoint: Path) -> None:
    robot = Robot(stage, checkpoint)
    assert tops(stage) == [MOST_TOKENS] * len(BUDGETS)
    for _ in range(2):
        assert robot.change(Transition.TRANSITION_CONFIGURE)
        assert tops(stage) == [robot.policy.info.visual_tokens] * len(BUDGETS) == [16] * len(BUDGETS)
        assert robot.change(Transition.TRANSITION_CLEANUP)
        assert tops(stage) == [MOST_TOKENS] * len(BUDGETS)


def test_a_policy_that_can_not_be_configured_narrows_nothing(
    stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    robot = Robot(stage, checkpoint, row_budget=17)
    assert not robot.change(Transition.TRANSITION_CONFIGURE)
    said = "configure failed: row_budget 17 is above the visual tokens of this policy: valid are 0 to 16"
    assert said in capfd.readouterr().err
    assert tops(stage) == [MOST_TOKENS] * len(BUDGETS)
    assert stage.set_parameter("policy", "row_budget", 5).successful
    assert robot.change(Transition.TRANSITION_CONFIGURE)


def test_a_value_that_nobody_listens_to_says_so(
    stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    robot = Robot(stage, checkpoint, **{"mode": "vla_cache", "T": 5, "observation.slop": 0.2})
    log = capfd.readouterr().err
    assert "T has no effect in mode vla_cache: place_entropy and info_entropy listen" in log
    assert "observation.slop" not in log  # how many cameras the policy has is not known yet
    robot.activate()
    assert "observation.slop has no effect with a policy of one camera" in capfd.readouterr().err
    answer = stage.set_parameter("policy", "T", 7)
    assert (answer.successful, answer.reason) == (
        True,
        "T has no effect in mode vla_cache: place_entropy and info_entropy listen",
    )
    assert stage.set_parameter("policy", "mode", "info_entropy").reason == ""
    assert stage.set_parameter("policy", "T", 8).reason == ""
    assert stage.set_parameter("policy", "k1", 3).successful
    assert stage.set_parameter("policy", "T", 9).reason == "T has no effect while k1 and k2 are both 3"
    assert robot.inference._orders.options.tunables.T == 9


def test_a_name_that_is_no_parameter_is_said_at_start_up(
    stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Robot(stage, checkpoint, k_1=3, static_similarity=0.5, use_sim_time=False)
    log = capfd.readouterr().err
    assert "there is no parameter k_1, the nearest is k1: it has no effect" in log
    assert "there is no parameter static_similarity, the nearest is static.similarity: it has no effect" in log
    assert log.count("there is no parameter") == 2


@pytest.fixture
def fixed_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies run by passes of fixed shapes, as on a GPU."""
    monkeypatch.setattr(Policy, "load", partial(Policy.load, graphs=True))


@pytest.mark.usefixtures("fixed_shapes")
def test_what_runs_is_what_param_get_tells(stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    robot = Robot(stage, checkpoint, taper_rows=4)
    assert get(stage, "taper_rows") == 4
    robot.activate()
    log = capfd.readouterr().err
    assert [line.split("]: ")[1] for line in log.splitlines() if "taper" in line] == [
        f"{FIXED}; this policy runs with taper_rows 0"
    ]
    assert get(stage, "taper_rows") == 0
    assert robot.inference._orders.options.tunables.taper_rows == 0
    answer = stage.set_parameter("policy", "taper_rows", 4)
    assert (answer.successful, answer.reason) == (False, FIXED)
    assert stage.set_parameter("policy", "k1", 1).successful  # the others can still be set
    robot.tick()


def test_what_can_be_run_is_left_alone(stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Robot(stage, checkpoint, taper_rows=4).activate()
    assert get(stage, "taper_rows") == 4
    assert "taper" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "argument"),
    [
        ("checkpoint", "/elsewhere", "folder"),
        ("device", "auto", "device"),
        ("dtype", "bfloat16", "dtype"),
        ("quantisation", "int8", "quantisation"),
        ("unnorm_key", "kitchen", "unnorm_key"),
        ("preprocess", "centre_crop", "preprocess"),
    ],
)
def test_what_a_policy_is_loaded_with(
    stage: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, argument: str
) -> None:
    asked: dict[str, Any] = {}

    def load(folder: Path, **options: Any) -> Policy:
        asked.update(options, folder=str(folder))
        raise CheckpointError("enough")

    monkeypatch.setattr(Policy, "load", load)
    overrides = {"checkpoint": str(checkpoint), name: value}
    robot = Robot(stage, overrides.pop("checkpoint"), **overrides)
    assert not robot.change(Transition.TRANSITION_CONFIGURE)
    assert asked[argument] == value


@pytest.mark.parametrize("allowed", [False, True])
def test_a_download_is_a_matter_of_the_start(
    stage: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    asked: list[tuple[str, bool]] = []

    def find(name: Path, allow_download: bool) -> Path:
        asked.append((str(name), allow_download))
        return checkpoint

    monkeypatch.setattr("vla_entropy_ros.nodes.policy.loading.find_folder", find)
    assert Robot(stage, "openvla/openvla-7b@v1", allow_download=allowed).change(Transition.TRANSITION_CONFIGURE)
    assert asked == [("openvla/openvla-7b@v1", allowed)]


def test_frame_and_reliability_are_those_of_the_start(stage: Any, checkpoint: Path) -> None:
    robot = Robot(stage, checkpoint, **{"action_frame": "arm", "observation.reliability": "reliable"})
    robot.activate()
    assert robot.node._inputs is not None
    assert robot.node._inputs.cameras[0].reliabilities == (
        "reliable",
        "reliable",
    )  # nobody publishes: auto is best effort
    assert robot.tick().header.frame_id == "arm"


def test_how_long_a_silence_is_reported(robot: Robot) -> None:
    robot.tick()
    time.sleep(0.3)
    for silence, level in ((0.1, DiagnosticStatus.STALE), (60.0, DiagnosticStatus.OK)):
        assert robot.stage.set_parameter("policy", "warn.silence", silence).successful
        robot.node._diagnostics.publish()
        robot.stage.diagnostic("policy: observation", lambda status, level=level: status.level == level)


def test_frames_and_size_of_the_simulator_are_those_of_the_start(stage: Any) -> None:
    frames = {"action_frame": "world", "camera.frame": "eye"}
    overrides = [Parameter(name, value=value) for name, value in {**frames, "camera.size": 32}.items()]
    stage.add(SimulatorNode(parameter_overrides=overrides))
    images, poses = stage.listen(Image, "image", reliable=False), stage.listen(PoseStamped, "current_pose")
    stage.until(lambda: bool(images) and bool(poses), "an image and a pose", 20.0)
    assert (images[0].header.frame_id, images[0].width, poses[0].header.frame_id) == ("eye", 32, "world")


def test_the_simulators_camera_keeps_its_rate(stage: Any) -> None:
    stage.add(SimulatorNode(parameter_overrides=[Parameter("camera.size", value=16)]))
    images = stage.listen(Image, "image", reliable=False)

    def rate(asked: float) -> float:
        assert stage.set_parameter("simulator", "camera.rate", asked).successful
        images.clear()
        stage.until(lambda: len(images) > 5, "images", 20.0)
        return 5 / (seconds(images[5].header.stamp) - seconds(images[0].header.stamp))

    assert rate(5.0) < 6.0 < rate(25.0)  # a busy machine may be slower, not faster
