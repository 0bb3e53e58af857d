"""Which checkpoint a policy runs: the one that was asked for, never one that nobody named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from vla_entropy_ros import resources
from vla_entropy_ros.nodes.policy.node import PolicyNode
from vla_entropy_ros.nodes.policy.settings import resolve_checkpoint
from vla_entropy_ros.settings import SettingError


def test_a_checkpoint_is_a_path_or_the_name_of_a_shipped_one(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "default_checkpoint", lambda: checkpoint.parent / "small_policy")
    with pytest.raises(SettingError, match=r"^checkpoint is empty: give a folder .*, or small_policy, which "):
        resolve_checkpoint("")
    assert resolve_checkpoint("random_policy") == checkpoint
    assert resolve_checkpoint("elsewhere") == Path("elsewhere")
    assert resolve_checkpoint(str(checkpoint)) == checkpoint
    monkeypatch.undo()
    assert (resolve_checkpoint("small_policy") / "config.json").is_file()


def test_no_policy_runs_that_nobody_asked_for(stage: Any) -> None:
    """A path that was lost on its way leaves the checkpoint empty: the simulator's policy does not stand in for it."""
    stage.add(PolicyNode())
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert not stage.call(ChangeState, "/policy/change_state", request).success
    wanted = (
        "configure failed: checkpoint is empty: give a folder (checkpoint:=/path/to/openvla-7b), or small_policy, "
        "which drives the simulated arm only; mend it, then ros2 lifecycle set /policy configure"
    )
    status = stage.diagnostic("policy: inference", lambda status: status.level == DiagnosticStatus.ERROR)
    assert (status.message, status.hardware_id) == (wanted, "no checkpoint")
