"""A MuJoCo tabletop: a seven-joint arm, coloured cubes, a camera, tasks and a scripted expert. No ROS, no torch."""

from .environment import Environment
from .render import RenderError
from .tasks import COLOURS, TASKS, Task, find_task

__all__ = ["COLOURS", "TASKS", "Environment", "RenderError", "Task", "find_task"]
