"""Checkpoints for the engine's tests, rebuilt from a rule instead of being stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tools.checkpoints import write_shards, write_small
from vla_entropy_ros.engine import Policy
from vla_entropy_ros.engine.decoding.decoder import Sight

DATA = Path(__file__).parents[1] / "data"

torch.set_num_threads(1)


def causal(where: torch.Tensor) -> Sight:
    """Each row of a pass at the positions `where`, ascending, sees what is not behind it."""
    return Sight(where + 1, torch.zeros_like(where), 0, int(where[-1]) + 1)


@pytest.fixture(scope="session")
def tiny_spec() -> dict[str, Any]:
    """A tiny OpenVLA with the real layout: config, names and shapes of its tensors, prompt ids."""
    return json.loads((DATA / "openvla_tiny.json").read_text())


@pytest.fixture(scope="session")
def tiny_reference() -> dict[str, NDArray]:
    """What the original model code puts out for it."""
    with np.load(DATA / "openvla_tiny.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="session")
def tiny_folder(tiny_spec: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its checkpoint folder: two shards and an index, no tokenizer."""
    return write_shards(tmp_path_factory.mktemp("openvla_tiny"), tiny_spec)


@pytest.fixture(scope="session")
def tiny_policy(tiny_spec: dict[str, Any], tiny_folder: Path) -> Policy:
    return Policy.load(tiny_folder, encoder=lambda prompt: [*tiny_spec["input_ids"], 29871])


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("small"))


@pytest.fixture
def broken_folder(tmp_path: Path) -> Path:
    """A small checkpoint to break."""
    return write_small(tmp_path / "checkpoint")


@pytest.fixture(scope="session")
def load_small(small_folder: Path) -> Callable[[], Policy]:
    return lambda: Policy.load(small_folder)
