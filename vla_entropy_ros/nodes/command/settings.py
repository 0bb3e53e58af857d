"""Parameters of the command node; their defaults come from config/policy.yaml alone."""

from __future__ import annotations

from ...control import ACTION_SPACES
from ...settings import Setting, among
from ..common.parameters import ACTION_FRAME

COMMAND_TYPES = ("pose_stamped", "twist_stamped", "joint_trajectory", "chunk")
# What is sent to the arm counts: `~/preview` shows the target of this instant whatever the command type.
TARGETS = (among("command_type", COMMAND_TYPES[:3], COMMAND_TYPES),)  # a chunk's receiver interpolates on its own
JOINTS = (among("command_type", ("joint_trajectory",), COMMAND_TYPES),)

COMMAND_SETTINGS: tuple[Setting, ...] = (
    Setting("command_type", "str", "what is sent: target poses, velocities, joint positions, or checked chunks",
            choices=COMMAND_TYPES, read_only=True),
    Setting("rate", "float", "commands per second [Hz]", 1.0, 1000.0, read_only=True),
    ACTION_FRAME,
    Setting("tool_frame", "str", "link of the robot description that moves", read_only=True, listens=JOINTS),
    Setting("action_space", "str", "axes of the actions' deltas: those of action_frame, or the tool's own",
            choices=ACTION_SPACES, read_only=True),
    Setting("action_scale", "float", "factor on translations and rotations; small for a first run", 0.0, 2.0),
    Setting("dry_run", "bool", "send nothing but ~/preview"),
    Setting("enabled", "bool", "send commands from the start on, without a call of ~/enable", read_only=True),
    Setting("gripper.open", "float", "gripper_command for an open gripper", -1000.0, 1000.0),
    Setting("gripper.closed", "float", "gripper_command for a closed gripper", -1000.0, 1000.0),
    Setting("gripper.hold_time", "float", "least time between two changes of side of gripper_command [s]; 0: none",
            0.0, 10.0),
    Setting("chunk.stale_after", "float", "control periods without a new chunk until the arm is held", 1.0, 100.0),
    Setting("chunk.expired_after", "float", "time since a chunk has run out [s] from which it moves nothing", 0.0, 5.0),
    Setting("chunk.blending", "float", "share of the chunk before where two overlap; 0: none", 0.0, 0.9,
            listens=TARGETS),
    Setting("pose_timeout", "float", "age of the measured pose [s] above which nothing is commanded", 0.02, 5.0),
    Setting("limits.max_translation", "float", "longest translation of one action [m]", 0.001, 0.5),
    Setting("limits.max_rotation", "float", "largest rotation of one action [rad]", 0.001, 1.5),
    Setting("limits.max_speed", "float", "highest speed of the target [m/s]", 0.001, 5.0, listens=TARGETS),
    Setting("limits.max_turn_speed", "float", "highest turning speed of the target [rad/s]", 0.001, 20.0,
            listens=TARGETS),
    Setting("limits.max_joint_speed", "float", "highest speed of a joint [rad/s or m/s]", 0.001, 20.0, listens=JOINTS),
    Setting("limits.lead_translation", "float", "lead of the target before the measured pose [m]", 0.001, 0.5,
            listens=TARGETS),
    Setting("limits.lead_rotation", "float", "lead in orientation [rad]", 0.001, 1.5, listens=TARGETS),
    *(
        Setting(f"workspace.{axis}.{side}", "float", f"{side} bound of the target's {axis} [m]", -5.0, 5.0)
        for axis in "xyz"
        for side in ("low", "high")
    ),
    Setting("warn.clipped", "float", "share of actions cut by limits from which it is reported", 0.0, 1.0),
)  # fmt: skip
