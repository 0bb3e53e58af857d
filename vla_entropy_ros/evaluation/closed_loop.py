"""The simulated arm in closed loop without ROS: what it sees, and commands that follow what has arrived."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..control import ActionChunk, Commander, Limits, Rules
from ..engine import Observation, State
from ..sim import Environment
from ..sim.environment import CONTROL_STEP
from .disturbances import Disturbance, undisturbed


class ClosedLoop:
    """Simulator and commander wired together as the nodes are, in simulated time; evaluation and training step it."""

    def __init__(self, env: Environment, frame: str, period: float, limits: Limits, rules: Rules | None = None) -> None:
        """Build the loop; period: seconds an action lasts; limits, rules: of the commander."""
        self.env, self.frame, self.period = env, frame, period
        self.steps = round(period / CONTROL_STEP)  # commands in a period
        self._limits, self._rules = limits, replace(rules or Rules(), period=CONTROL_STEP)

    def start(self, task: str, seed: int, disturbance: Disturbance | None = None) -> None:
        """Reset the scene; a new commander starts from where the arm is. `disturbance`: of this episode, if any."""
        self.env.reset(task, seed)
        self.effect = disturbance.begin(task, seed) if disturbance else undisturbed()
        self._commander = Commander(self._limits, self.frame, self._rules)
        self._commander.anchor(self.env.pose)

    def observe(self) -> Observation:
        """Render what the policy sees now, with the running instruction and the arm's measured state.

        A disturbance does to the scene and to the picture what is due now: call it once per picture.
        """
        env = self.env
        self.effect.touch(env)
        names, values = env.state
        return Observation(
            (self.effect.see(env.render(), env.time),), env.instruction, env.time, State(names, values, env.time)
        )

    def offer(self, actions: NDArray[np.float64], stamp: float, period: float | None = None) -> None:
        """Take over `actions` [H, A] that answer an observation of time `stamp` [s]; ChunkError when they must not be.

        period: seconds an action lasts, None as the loop was built.
        """
        self._commander.offer(ActionChunk(stamp, period or self.period, actions, self.frame), self.env.time)

    def step(self) -> bool:
        """Command the arm and let CONTROL_STEP seconds pass; whether an action moves it."""
        command = self._commander.command(self.env.time, self.env.pose)
        self.env.set_target(command.pose, command.opening)
        self.env.advance(CONTROL_STEP)
        return self._commander.moving

    def advance(self, actions: NDArray[np.float64] | None, late: int) -> None:
        """Let one control period pass; `actions` [H, A], if any, arrive `late` commands after it began."""
        stamp = self.env.time
        for step in range(self.steps):
            if actions is not None and step == late:
                self.offer(actions, stamp)
            self.step()
