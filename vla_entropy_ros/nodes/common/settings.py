"""The nodes' own settings, beside those of the engine; their defaults come from config/policy.yaml alone."""

from __future__ import annotations

from pathlib import Path

from ... import resources
from ...control import ACTION_SPACES
from ...settings import ENGINE_SETTINGS, Setting

_RATE = (1.0, 1000.0)  # hertz
COMMAND_TYPES = ("pose_stamped", "twist_stamped", "joint_trajectory", "chunk")
RELIABILITIES = ("auto", "best_effort", "reliable")
_FRAME = Setting("action_frame", "str", "frame in which actions and poses are expressed", read_only=True)

POLICY_SETTINGS: tuple[Setting, ...] = (
    *ENGINE_SETTINGS,
    Setting("control_period", "float", "time between two ticks, and time one action lasts [s]", 0.01, 2.0),
    _FRAME,
    Setting("default_instruction", "str", "instruction to follow from activation on; empty: wait for one"),
    Setting("max_observation_age", "float", "age of an image [s] above which no action is computed", 0.01, 10.0),
    Setting("image_reliability", "str", "reliability the image subscriptions ask for; auto: that of the publisher, "
            "best_effort hears every camera", choices=RELIABILITIES, read_only=True),
    Setting("camera_slop", "float", "longest time between the images of several cameras [s] that count as one "
            "observation", 0.0, 1.0),
    Setting("max_action_entropy", "float", "entropy of an action token (0 certain, 1 even) above which the arm is held "
            "instead; 1: never", 0.0, 1.0),
    Setting("warn_silence", "float", "time without an image, or inside one tick [s], that is reported", 0.1, 60.0),
    Setting("warn_loss", "float", "share of images lost in transport that is reported", 0.0, 1.0),
    Setting("warn_tick", "float", "95th percentile of the tick [s] that is reported; 0: the control period", 0.0, 10.0),
)  # fmt: skip

COMMAND_SETTINGS: tuple[Setting, ...] = (
    Setting("command_type", "str", "what is sent: target poses, velocities, joint positions, or checked chunks",
            choices=COMMAND_TYPES, read_only=True),
    Setting("rate", "float", "commands per second [Hz]", *_RATE, read_only=True),
    _FRAME,
    Setting("tool_frame", "str", "link of the robot description that moves, for joint_trajectory", read_only=True),
    Setting("action_space", "str", "axes of the actions' deltas: those of action_frame, or the tool's own",
            choices=ACTION_SPACES, read_only=True),
    Setting("action_scale", "float", "factor on translations and rotations; small for a first run", 0.0, 2.0),
    Setting("dry_run", "bool", "send nothing but ~/preview"),
    Setting("enabled", "bool", "send commands from the start on, without a call of ~/enable", read_only=True),
    Setting("gripper_open", "float", "gripper_command for an open gripper", -1000.0, 1000.0),
    Setting("gripper_closed", "float", "gripper_command for a closed gripper", -1000.0, 1000.0),
    Setting("stale_after", "float", "control periods without a new chunk until the arm is held", 1.0, 100.0),
    Setting("expired_after", "float", "time since a chunk has run out [s] from which it moves nothing", 0.0, 5.0),
    Setting("blending", "float", "share of the chunk before where two overlap; 0: none", 0.0, 0.9),
    Setting("pose_timeout", "float", "age of the measured pose [s] above which nothing is commanded", 0.02, 5.0),
    Setting("max_translation", "float", "longest translation of one action [m]", 0.001, 0.5),
    Setting("max_rotation", "float", "largest rotation of one action [rad]", 0.001, 1.5),
    Setting("max_speed", "float", "highest speed of the target [m/s]", 0.001, 5.0),
    Setting("max_turn_speed", "float", "highest turning speed of the target [rad/s]", 0.001, 20.0),
    Setting("max_joint_speed", "float", "highest speed of a joint [rad/s or m/s], for joint_trajectory", 0.001, 20.0),
    Setting("lead_translation", "float", "how far the target may run ahead of the measured pose [m]", 0.001, 0.5),
    Setting("lead_rotation", "float", "how far the target may turn ahead of the measured pose [rad]", 0.001, 1.5),
    *(
        Setting(f"workspace_{axis}_{side}", "float", f"{side} bound of the target's {axis} [m]", -5.0, 5.0)
        for axis in "xyz"
        for side in ("low", "high")
    ),
)  # fmt: skip

SIMULATOR_SETTINGS: tuple[Setting, ...] = (
    Setting("task", "str", "task of the next episode; a reset starts it"),
    Setting("seed", "int", "seed of the next episode: fixes where everything stands", 0, 2**31 - 1),
    Setting("camera_rate", "float", "images per second [Hz], shown at steps of 20 ms", 1.0, 50.0),
    Setting("image_size", "int", "width and height of the image [pixels]", 16, 1024, read_only=True),
    _FRAME,
    Setting("camera_frame", "str", "frame of the images", read_only=True),
)


def resolve_checkpoint(value: str) -> Path:
    """Folder that the parameter `checkpoint` means: empty or a shipped model's name, else a path."""
    if not value:
        return resources.default_checkpoint()
    shipped = resources.default_checkpoint().parent / value
    return shipped if Path(value).name == value and shipped.is_dir() else Path(value).expanduser()
