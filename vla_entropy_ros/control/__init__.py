"""Action chunks to pose commands inside limits; pure functions and one small state, no ROS."""

from .chunk import ActionChunk, ChunkError, check_chunk
from .commander import Command, Commander
from .pose import Limits, Pose, clamp_workspace, integrate, leash

__all__ = [
    "ActionChunk",
    "ChunkError",
    "Command",
    "Commander",
    "Limits",
    "Pose",
    "check_chunk",
    "clamp_workspace",
    "integrate",
    "leash",
]
