"""Action chunks to commands inside limits; pure functions and small states, no ROS."""

from .chunk import ActionChunk, ChunkError, check_chunk
from .commander import Command, Commander, Motion, Rules
from .gate import Gate, GateError
from .guard import Guard
from .kinematics import Kinematics, UnreachableError
from .plausibility import Plausibility
from .pose import Limits, Pose, Velocity, clamp_workspace, integrate, limit_lead, within
from .saturation import Excess, Saturation, excess
from .times import FUTURE, stamp_problem
from .urdf import DescriptionError, read_chain
from .values import ACTION_SPACES, limits_of, rules_of

__all__ = [
    "ACTION_SPACES",
    "FUTURE",
    "ActionChunk",
    "ChunkError",
    "Command",
    "Commander",
    "DescriptionError",
    "Excess",
    "Gate",
    "GateError",
    "Guard",
    "Kinematics",
    "Limits",
    "Motion",
    "Plausibility",
    "Pose",
    "Rules",
    "Saturation",
    "UnreachableError",
    "Velocity",
    "check_chunk",
    "clamp_workspace",
    "excess",
    "integrate",
    "limit_lead",
    "limits_of",
    "read_chain",
    "rules_of",
    "stamp_problem",
    "within",
]
