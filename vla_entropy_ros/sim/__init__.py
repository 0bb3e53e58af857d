"""A MuJoCo tabletop: a seven-joint arm, coloured cubes, a camera, tasks and a scripted expert. No ROS, no torch."""

from .environment import Environment
from .render import RenderError
from .tasks import COLOURS, FAMILIES, GOALS, TASKS, Goal, Task, family_tasks, find_task

__all__ = [
    "COLOURS", "FAMILIES", "GOALS", "TASKS", "Environment", "Goal", "RenderError", "Task", "family_tasks", "find_task",
]  # fmt: skip
