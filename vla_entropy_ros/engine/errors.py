"""What can go wrong in the engine; every message is one line that names the valid choices."""

from __future__ import annotations

from pathlib import Path

MOST_SAID = 2000  # signs of a line: names from a file may have any length


def printable(said: str) -> str:
    """A line without what would break it or command a terminal, and not without end."""
    line = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in said[:MOST_SAID])
    return line if len(said) <= MOST_SAID else line + " ..."


class EngineError(Exception):
    """Anything the engine refuses; the message is one line, names from a file are made printable in it."""

    def __init__(self, said: str) -> None:
        super().__init__(printable(said))


class CheckpointError(EngineError):
    """A checkpoint folder that cannot be loaded as it is."""


def incomplete(said: str, folder: Path) -> CheckpointError:
    """The error for a `folder` that lacks what `said` names, with what helps."""
    return CheckpointError(
        f"{said}: expected all files of a checkpoint, as they were downloaded; name the folder that has them, or "
        f"download them again (hf download ORG/NAME --local-dir {folder})"
    )


class DeviceError(EngineError):
    """A device or dtype that is not available here."""


class DeviceLostError(DeviceError):
    """A device that failed at work, and does nothing for this process any more."""


class ObservationError(EngineError):
    """An observation that cannot be acted on; the state of the policy is as before."""


class ActionError(EngineError):
    """Decoder output that is no action; it must not become motion."""
