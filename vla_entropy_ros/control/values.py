"""What the command node's parameters, by name, mean for a commander; also for one that runs without ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .commander import Rules
from .pose import Limits

ACTION_SPACES = ("fixed_delta", "tool_delta")


def limits_of(values: Mapping[str, Any]) -> Limits:
    """Limits of all parameter values; ValueError in one line when they do not fit together."""
    low, high = (tuple(values[f"workspace.{axis}.{side}"] for axis in "xyz") for side in ("low", "high"))
    names = (field.name for field in fields(Limits) if not field.name.startswith("workspace"))
    return Limits(workspace_low=low, workspace_high=high, **{name: values[f"limits.{name}"] for name in names})


def rules_of(values: Mapping[str, Any]) -> Rules:
    """Rules of all parameter values."""
    return Rules(
        stale_after=values["chunk.stale_after"],
        expired_after=values["chunk.expired_after"],
        scale=values["action_scale"],
        blending=values["chunk.blending"],
        tool=values["action_space"] == "tool_delta",
        period=1.0 / values["rate"],
        gripper_hold=values["gripper.hold_time"],
    )
