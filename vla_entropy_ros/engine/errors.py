"""What can go wrong in the engine; every message is one line that names the valid choices."""

from __future__ import annotations


class EngineError(Exception):
    """Anything the engine refuses; the message is one line."""


class CheckpointError(EngineError):
    """A checkpoint folder that cannot be loaded as it is."""


class DeviceError(EngineError):
    """A device or dtype that is not available here."""


class ObservationError(EngineError):
    """An observation that cannot be acted on; the state of the policy is as before."""


class ActionError(EngineError):
    """Decoder output that is no action; it must not become motion."""
