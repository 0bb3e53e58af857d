"""What every test runs under: checked message fields, DDS of its own on this machine, one thread."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import hypothesis
import pytest
import torch
import transformers  # noqa: F401 - so that folders are read in this process: there are hundreds

from .domains import OWN

os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"  # off by default, and then wrong types turn into garbage on the wire
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(OWN)
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="vla_entropy_ros_log_"))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of what tests start; two cores shared by several processes
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before a test imports Triton: kernels run in Python
hypothesis.settings.register_profile("busy machine", deadline=None)  # what takes long once is no fault
hypothesis.settings.load_profile("busy machine")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small policy with random weights whose every token is an action: it moves, but knows nothing."""
    from tools.random_policy import write_random_policy

    return write_random_policy(tmp_path_factory.mktemp("models") / "random_policy")


@pytest.fixture
def toy_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy family stands among the families."""
    from vla_entropy_ros.engine.families import FAMILIES

    from .families.toy import ToyFamily

    monkeypatch.setattr("vla_entropy_ros.engine.families.FAMILIES", [*FAMILIES, ToyFamily()])


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small policy of the toy family."""
    from .families.toy import write_toy

    return write_toy(tmp_path_factory.mktemp("models") / "toy")
