"""Why a run ended; apart from the rest, so that starting a node loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..client import Answer


class RunError(RuntimeError):
    """A run can't start or go on; the message is one line."""


def need(answer: Answer) -> None:
    """Raise RunError with its words unless the answer is yes."""
    if not answer:
        raise RunError(answer.words)
