"""The simulated camera: pictures at its own rate, each on its way for a while, late or lost where that is asked."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..engine import Observation
from ..sim.environment import CONTROL_STEP
from .closed_loop import ClosedLoop
from .timing import SLACK, Timing


@dataclass(frozen=True)
class Frame:
    """A picture and what was true when it was taken.

    arrives: when the policy has it [s]; tool [3]: the tool's position [m]; target: visual token that shows the cube in
    question, None when it is out of the picture; in_sight: nothing stands before that cube.
    """

    observation: Observation
    arrives: float
    tool: NDArray[np.float64]
    target: int | None
    in_sight: bool


class Camera:
    """Takes pictures of a loop's scene in one episode."""

    def __init__(self, loop: ClosedLoop, timing: Timing, grid: tuple[int, int]) -> None:
        """grid: rows and columns of the policy's visual tokens."""
        self._loop, self._timing, self._grid = loop, timing, grid
        self._number = 0
        self._coming: list[Frame] = []

    def look(self, free: float) -> None:
        """Take a picture if one is due now, unless a newer one will be there when the policy is `free` [s] to see it.

        Call it once before every command.
        """
        env, effect = self._loop.env, self._loop.effect
        due = self._number / self._timing.camera_rate
        if env.time < due - SLACK:
            if due - env.time <= effect.exposure + SLACK:
                effect.expose(env.render())
            return
        self._number += 1
        late = effect.delivery()
        newer = self._taken(self._number) + self._timing.transport
        if late is None or (effect.punctual and newer <= free + SLACK):
            effect.touch(env)
            return
        observation, target = self._loop.observe(), env.cube_position(env.goal.colour)
        arrives, seen = env.time + self._timing.transport + late, env.in_sight(target, env.goal.colour)
        self._coming.append(Frame(observation, arrives, env.pose.position, self._token(target), seen))

    def _taken(self, number: int) -> float:
        """When the picture of that number is taken [s]: at the first command that is not before it is due."""
        commands = math.ceil((number / self._timing.camera_rate - SLACK) / CONTROL_STEP)
        return commands * CONTROL_STEP

    def newest(self) -> Frame | None:
        """The newest picture that has arrived since the last one that was asked for; older ones are dropped."""
        now = self._loop.env.time + SLACK
        arrived = [frame for frame in self._coming if frame.arrives <= now]
        if not arrived:
            return None
        newest = max(arrived, key=lambda frame: frame.observation.stamp)
        self._coming = [frame for frame in self._coming if frame.observation.stamp > newest.observation.stamp]
        return newest

    def _token(self, point: NDArray[np.float64]) -> int | None:
        """Find the visual token that shows a world point [3]; None when it is out of the picture."""
        place = self._loop.env.project(point) + self._loop.effect.offset / self._loop.env.image_size
        if not ((place >= 0) & (place < 1)).all():
            return None
        rows, columns = self._grid
        return int(place[1] * rows) * columns + int(place[0] * columns)
