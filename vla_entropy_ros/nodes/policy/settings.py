"""Parameters of the policy node, beside those of the engine; their defaults come from config/policy.yaml alone."""

from __future__ import annotations

from pathlib import Path

from ... import resources
from ...engine.tunables import DECODING, LOAD_SETTINGS, REUSING, TUNABLE_SETTINGS
from ...settings import Setting, SettingError, When
from ..common.parameters import ACTION_FRAME

CAMERAS, STATES = "policy.cameras", "policy.states"  # facts about the loaded policy, beside the values
NO_CHECKPOINT = (
    "checkpoint is empty: give a folder (checkpoint:=/path/to/openvla-7b), or small_policy, which drives the simulated "
    "arm only"
)
RELIABILITIES = ("auto", "best_effort", "reliable")
# What the values alone do not tell: known once a policy is loaded, and until then all listen.
SEVERAL_CAMERAS = (When("several cameras", lambda values: values.get(CAMERAS, 2) > 1, "with a policy of one camera"),)
STATE = (When("a policy with a state", lambda values: values.get(STATES, 1) > 0, "with a policy without a state"),)

POLICY_SETTINGS: tuple[Setting, ...] = (
    *LOAD_SETTINGS,
    *TUNABLE_SETTINGS,
    Setting("control_period", "float", "time between two ticks, and time one action lasts [s]", 0.01, 2.0),
    ACTION_FRAME,
    Setting("default_instruction", "str", "instruction to follow from activation on, until the topic gives another; "
            "empty: wait for one"),
    Setting("observation.max_age", "float", "age of an image [s] above which no action is computed", 0.01, 10.0),
    Setting("observation.reliability", "str", "reliability the image subscriptions ask for; auto: that of the "
            "publisher, best_effort hears every camera", choices=RELIABILITIES, read_only=True),
    Setting("observation.slop", "float", "longest time between the images of several cameras [s] that count as one "
            "observation", 0.0, 1.0, listens=SEVERAL_CAMERAS),
    Setting("state.names", "str", "joints of joint_states, or x, y, z, roll, pitch, yaw of current_pose, in the order "
            "of the policy's state, comma-separated; empty: as the checkpoint names them", read_only=True,
            listens=STATE),
    Setting("max_action_entropy", "float", "entropy of an action token (0 certain, 1 even) above which the arm is held "
            "instead; 1: never", 0.0, 1.0, listens=DECODING),
    Setting("goal.preempt", "bool", "a second goal takes the place of the running one; false: it is refused"),
    Setting("goal.patience", "float", "time the arm may be held [s] before the running goal ends for it", 0.5, 3600.0),
    Setting("self_check.every", "int", "ticks between two checks of an answer against full recomputation; 0: only the "
            "first 8 ticks after an activation that reuse anything", 0, 100000, listens=REUSING),
    Setting("self_check.translation", "float", "mean deviation of the last 8 checks [m] above which the node goes to "
            "mode full", 0.0001, 1.0, listens=REUSING),
    Setting("self_check.rotation", "float", "mean deviation of the last 8 checks [rad] above which the node goes to "
            "mode full", 0.001, 3.2, listens=REUSING),
    Setting("realtime.cores", "str", "cores that the inference thread is bound to, as 2 or 2,3 or 2-3; empty: "
            "not bound", digits=True, read_only=True),
    Setting("realtime.priority", "int", "SCHED_FIFO priority of the inference thread; 0: scheduled as others", 0, 99,
            read_only=True),
    Setting("realtime.lock_memory", "bool", "keep the node's memory from being paged out", read_only=True),
    Setting("warn.silence", "float", "time without an image, or inside one tick [s], that is reported", 0.1, 60.0),
    Setting("warn.loss", "float", "share of images lost in transport that is reported", 0.0, 1.0),
    Setting("warn.tick", "float", "95th percentile of the tick [s] that is reported; 0: the control period", 0.0, 10.0),
)  # fmt: skip


def resolve_checkpoint(value: str) -> Path:
    """Folder that the parameter `checkpoint` means: a shipped model's name, else a path; SettingError when empty."""
    if not value:
        raise SettingError(NO_CHECKPOINT)
    shipped = resources.default_checkpoint().parent / value
    return shipped if Path(value).name == value and shipped.is_dir() else Path(value).expanduser()
