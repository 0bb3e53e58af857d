"""A MuJoCo tabletop: a seven-joint arm, coloured cubes, a camera, tasks and a scripted expert. No ROS, no torch."""

from .environment import Environment
from .render import RenderError
from .tasks import (
    COLOURS,
    EVERY_FAMILY,
    EVERY_TASK,
    FAMILIES,
    GOALS,
    LONGER,
    TASKS,
    Goal,
    Task,
    family_tasks,
    find_task,
)

__all__ = [
    "COLOURS", "EVERY_FAMILY", "EVERY_TASK", "FAMILIES", "GOALS", "LONGER", "TASKS", "Environment", "Goal",
    "RenderError", "Task", "family_tasks", "find_task",
]  # fmt: skip
