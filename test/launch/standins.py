"""Small recording stand-ins for `launch` and `launch_ros`, which are in no package registry."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch


class Recorded:
    """Remembers what it was made with."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.args, self.options = args, options


class Context(dict[str, str]):
    """The values of a launch's arguments."""

    @property
    def launch_configurations(self) -> dict[str, str]:
        return self


class LaunchConfiguration(Recorded):
    """Reads an argument from the context."""

    def perform(self, context: Context) -> str:
        return context[self.args[0]]


NAMES = {
    "launch": ("LaunchDescription",),
    "launch.actions": (
        "DeclareLaunchArgument", "EmitEvent", "ExecuteProcess", "IncludeLaunchDescription", "LogInfo",
        "OpaqueFunction", "RegisterEventHandler", "SetEnvironmentVariable", "Shutdown", "TimerAction",
    ),
    "launch.event_handlers": ("OnProcessStart",),
    "launch.events": ("matches_action",),
    "launch.launch_description_sources": ("PythonLaunchDescriptionSource",),
    "launch.substitutions": (),
    "launch_ros": (),
    "launch_ros.actions": ("LifecycleNode", "Node"),
    "launch_ros.event_handlers": ("OnStateTransition",),
    "launch_ros.events": (),
    "launch_ros.events.lifecycle": ("ChangeState",),
    "launch_ros.parameter_descriptions": ("ParameterValue",),
    "launch_ros.ros_adapters": ("get_ros_node",),
    "launch_ros.substitutions": ("ExecutableInPackage",),
    "ament_index_python": (),
    "ament_index_python.packages": (),
}  # fmt: skip


@contextmanager
def standins(share: str) -> Iterator[None]:
    """Put the stand-ins in place of the real modules; `share` is the package's share folder."""
    modules = {}
    for name, classes in NAMES.items():
        modules[name] = ModuleType(name)
        for cls in classes:
            setattr(modules[name], cls, type(cls, (Recorded,), {}))
    vars(modules["launch.substitutions"])["LaunchConfiguration"] = LaunchConfiguration
    vars(modules["ament_index_python.packages"])["get_package_share_directory"] = lambda package: share
    with patch.dict(sys.modules, modules):
        yield
