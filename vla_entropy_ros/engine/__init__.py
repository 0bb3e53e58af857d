"""The policy without ROS: load a checkpoint, infer actions from observations, reuse keys and values between ticks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..settings import SettingError
from .errors import ActionError, CheckpointError, DeviceError, DeviceLostError, EngineError, ObservationError
from .observation import Observation, State
from .result import Result, Reuse, Timings
from .tunables import Tunables

if TYPE_CHECKING:
    from .policy import Policy, PolicyInfo

__all__ = [
    "ActionError",
    "CheckpointError",
    "DeviceError",
    "DeviceLostError",
    "EngineError",
    "Observation",
    "ObservationError",
    "Policy",
    "PolicyInfo",
    "Result",
    "Reuse",
    "SettingError",
    "State",
    "Timings",
    "Tunables",
]


def __getattr__(name: str) -> Any:
    """Import the policy when it is asked for: torch takes seconds that a program without one need not wait."""
    if name in ("Policy", "PolicyInfo"):
        return getattr(importlib.import_module(".policy", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
