"""Recordings that the benchmark's tests share: made once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vla_entropy_ros.bench.recording import Recording, record
from vla_entropy_ros.cli.options import FRESH_SEED
from vla_entropy_ros.engine import Policy
from vla_entropy_ros.evaluation.plan import Silent
from vla_entropy_ros.resources import default_checkpoint


@pytest.fixture(scope="session")
def policy() -> Policy:
    return Policy.load(default_checkpoint())


@pytest.fixture(scope="session")
def recordings(policy: Policy) -> list[Recording]:
    """Two short episodes of the shipped policy."""
    return record(policy, [("pick_red", FRESH_SEED), ("pick_green", FRESH_SEED + 1)], 1.2, Silent())


@pytest.fixture(scope="session")
def changing(recordings: list[Recording]) -> Recording:
    """An episode whose instruction changes at its eighth image."""
    one = recordings[0]
    return replace(one, instructions=(*one.instructions[:7], *("push the blue cube to the left",) * (len(one) - 7)))


@pytest.fixture(scope="session")
def tiny(checkpoint: Path) -> Policy:
    """The policy of random weights, everything recomputed and one token per pass."""
    policy = Policy.load(checkpoint)
    policy.set_tunables(replace(policy.tunables, mode="full", drafts="off"))
    return policy
