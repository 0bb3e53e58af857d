"""The policy without ROS: load a checkpoint, infer actions from observations, reuse keys and values between ticks."""

from ..settings import SettingError
from .errors import ActionError, CheckpointError, DeviceError, EngineError, ObservationError
from .observation import Observation, State
from .policy import Policy, PolicyInfo
from .result import Result, Reuse, Timings
from .tunables import Tunables

__all__ = [
    "ActionError",
    "CheckpointError",
    "DeviceError",
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
