"""Settings of SROS 2 that would leave a node unprotected are refused, or told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vla_entropy_ros.nodes.common.security import SecurityError, check_security

ROOT = Path(__file__).parents[2]
ON = {"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce", "ROS_SECURITY_KEYSTORE": "/keys"}


@pytest.mark.parametrize("environment", [{}, {"ROS_SECURITY_ENABLE": ""}, {"ROS_SECURITY_ENABLE": "false"}, ON])
def test_security_that_is_off_or_on_as_meant_is_taken(environment: dict[str, str]) -> None:
    assert check_security(environment) is None


@pytest.mark.parametrize("value", ["1", "True", "TRUE", "yes", "on", "true "])
def test_a_misspelt_switch_is_refused(value: str) -> None:
    with pytest.raises(SecurityError, match="valid are true and false; type export ROS_SECURITY_ENABLE=true"):
        check_security({**ON, "ROS_SECURITY_ENABLE": value})


@pytest.mark.parametrize("value", ["enforce", "ENFORCE", "Enforced", "strict"])
def test_a_misspelt_strategy_is_refused(value: str) -> None:
    with pytest.raises(SecurityError, match="valid are Enforce and Permissive; type export ROS_SECURITY_STRATEGY="):
        check_security({**ON, "ROS_SECURITY_STRATEGY": value})
    assert check_security({"ROS_SECURITY_STRATEGY": value}) is None  # security is off: nothing is lost


def test_a_keystore_that_is_not_named_is_refused() -> None:
    with pytest.raises(SecurityError, match=r"ROS_SECURITY_KEYSTORE is empty: .*create_keystore"):
        check_security({**ON, "ROS_SECURITY_KEYSTORE": ""})


@pytest.mark.parametrize("strategy", ["", "Permissive"])
def test_a_node_that_may_run_unprotected_says_so(strategy: str) -> None:
    said = check_security({**ON, "ROS_SECURITY_STRATEGY": strategy})
    assert said is not None
    assert "runs unprotected" in said
    assert "type export ROS_SECURITY_STRATEGY=Enforce" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ROS_SECURITY_ENABLE": "1"}, "ROS_SECURITY_ENABLE is '1'"),
        ({}, "/enclaves/robot/command' does not exist"),  # by rcl itself: the keystore is empty
    ],
)
def test_no_node_starts_without_the_protection_that_was_asked_for(
    tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **ON, "ROS_SECURITY_KEYSTORE": str(tmp_path), **changes}
    script = str(ROOT / "scripts" / "command_node")
    command = [sys.executable, script, "--ros-args", "--enclave", "/robot/command"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
