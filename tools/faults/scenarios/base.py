"""What a fault is."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import ClassVar

from ..rig import Rig

LASTS = 0.8  # seconds a fault is watched
STALE = "chunks are stale|no chunk"  # what the command node knows about a policy or a camera that is gone


class Fault(ABC):
    """One fault.

    stand: what it is tried on, one of STANDS. holds: the arm must come to rest; otherwise it may also go on, on fresh
    observations. cause: pattern of the words that name it. unnoticed: it needs no name as long as the arm goes on.
    within: seconds from it to the safe command.
    """

    name: ClassVar[str]
    cause: str
    stand: ClassVar[str] = "poses"
    holds: ClassVar[bool] = True
    unnoticed: ClassVar[bool] = False
    within: ClassVar[float] = 0.3

    def prepare(self, rig: Rig) -> None:  # noqa: B027  (most need nothing of the kind)
        """What comes before; the arm moves again afterwards."""

    def approach(self, rig: Rig) -> None:  # noqa: B027  (likewise)
        """What comes right before, while the arm moves."""

    @abstractmethod
    def begin(self, rig: Rig) -> float | None:
        """Bring it about; the time [s, monotonic] from which it could be noticed, where that is not before."""

    def last(self, rig: Rig) -> None:
        """Let it last."""
        time.sleep(LASTS)

    def check(self, rig: Rig) -> None:  # noqa: B027  (most need nothing of the kind)
        """FaultError where something else does not hold at the end."""

    @abstractmethod
    def end(self, rig: Rig) -> None:
        """Take it back; from here on the arm must recover."""
