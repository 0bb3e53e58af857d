"""Why a run ended; apart from the rest, so that starting a node loads nothing else."""

from __future__ import annotations


class RunError(RuntimeError):
    """A run can't start or go on; the message is one line."""
