"""The faults: how each is brought about, how it ends, and what must follow from it."""

from __future__ import annotations

from .around import (
    CameraResized,
    CameraStopped,
    ClockJump,
    GarbageImages,
    InstructionFlood,
    LifecycleWalk,
    ParameterFlood,
    PeerRestarted,
    PolicyKilled,
    PolicyStalled,
)
from .base import Fault
from .goals import ClientKilled, GoalCancelled, GoalFulfilled
from .lies import (
    AllRefused,
    JumpedJoint,
    JumpedPose,
    SecondJoints,
    SecondPolicy,
    SecondPose,
    UnsoundDescription,
    UnsoundFromStart,
)
from .stops import BestEffortStop, CommandHungUp, LatchedStop, PolicyHungUp, StopBeforeStart

FAULTS: tuple[type[Fault], ...] = (
    PolicyKilled,
    CameraStopped,
    PolicyStalled,
    CameraResized,
    GarbageImages,
    ClockJump,
    InstructionFlood,
    ParameterFlood,
    PeerRestarted,
    LifecycleWalk,
    SecondPose,
    SecondJoints,
    SecondPolicy,
    AllRefused,
    JumpedPose,
    JumpedJoint,
    UnsoundDescription,
    UnsoundFromStart,
    LatchedStop,
    BestEffortStop,
    StopBeforeStart,
    CommandHungUp,
    PolicyHungUp,
    GoalCancelled,
    GoalFulfilled,
    ClientKilled,
)

__all__ = ["FAULTS", "Fault"]
