"""The nodes' own settings, beside those of the engine; their defaults come from config/policy.yaml alone."""

from __future__ import annotations

from pathlib import Path

from .. import resources
from ..settings import ENGINE_SETTINGS, Setting

_RATE = (1.0, 1000.0)  # hertz
_FRAME = Setting("action_frame", "str", "frame in which actions and poses are expressed", read_only=True)

POLICY_SETTINGS: tuple[Setting, ...] = (
    *ENGINE_SETTINGS,
    Setting("control_period", "float", "time between two ticks, and time one action lasts [s]", 0.01, 2.0),
    _FRAME,
    Setting("default_instruction", "str", "instruction to follow from activation on; empty: wait for one"),
    Setting("max_observation_age", "float", "age of an image [s] above which no action is computed", 0.01, 10.0),
    Setting("image_reliability", "str", "reliability the image subscriptions ask for; best_effort hears every camera",
            choices=("best_effort", "reliable"), read_only=True),
)  # fmt: skip

COMMAND_SETTINGS: tuple[Setting, ...] = (
    Setting("rate", "float", "commands per second [Hz]", *_RATE, read_only=True),
    _FRAME,
    Setting("enabled", "bool", "send commands from the start on, without a call of ~/enable", read_only=True),
    Setting("stale_after", "float", "time after the last action of a chunk [s] until the arm is held", 0.0, 5.0),
    Setting("pose_timeout", "float", "age of the measured pose [s] above which nothing is commanded", 0.02, 5.0),
    Setting("max_translation", "float", "longest translation of one action [m]", 0.001, 0.5),
    Setting("max_rotation", "float", "largest rotation of one action [rad]", 0.001, 1.5),
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
    Setting("camera_rate", "float", "images per second [Hz]", 1.0, 50.0),
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
