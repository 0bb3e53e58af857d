"""The same episodes inside one process, without ROS: simulated time, so that nothing depends on the machine's speed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..control import ChunkError, limits_of, rules_of
from ..engine import ActionError, Policy, Result
from ..engine.observation import Pacer, Verdict
from ..settings import default_settings
from ..sim import Environment
from ..stages import milliseconds
from .camera import Camera, Frame
from .closed_loop import ClosedLoop
from .latency import STEPS, Work
from .plan import Observer, Trial
from .records import EpisodeRecord, Move, TickRecord
from .timing import SLACK, lock_step

SCALE = 1.0  # of actions: a simulator needs no caution


class SimulatedArm:
    """A policy in closed loop with the simulated arm, with the defaults of config/policy.yaml."""

    def __init__(self, policy: Policy) -> None:
        command, simulator = default_settings("command"), default_settings("simulator")
        self.policy = policy
        self.env = Environment(image_size=simulator["camera.size"])
        policy_values = default_settings("policy")
        self.period, self._oldest = float(policy_values["control_period"]), float(policy_values["observation.max_age"])
        rules = replace(rules_of(command), scale=SCALE)
        self._loop = ClosedLoop(self.env, str(command["action_frame"]), self.period, limits_of(command), rules)

    def close(self) -> None:
        """Release the renderer."""
        self.env.close()

    def start(self, trial: Trial, limit: float | None = None) -> EpisodeRecord:
        """Set the scene of a trial. limit: simulated seconds, None for that of its family."""
        tunables = trial.configuration.tunables
        self.policy.set_tunables(tunables)
        self.policy.reset()
        self._loop.start(trial.task, trial.seed, trial.disturbance)
        self._timing = trial.timing or lock_step(self.period)
        self._camera = Camera(self._loop, self._timing, self.policy.info.grid)
        self._plain = tunables.mode == "full" and tunables.drafts == "off"
        self._rng = np.random.default_rng([trial.seed, *trial.task.encode(), *self._timing.label.encode()])
        self._limit, self._free, self._followed = limit, 0.0, 0.0
        self._pacer = Pacer()
        disturbed = trial.disturbance.label if trial.disturbance else None
        self.episode = EpisodeRecord(
            trial.configuration.name,
            trial.task,
            trial.seed,
            self.env.instruction,
            disturbance=disturbed,
            timing=trial.timing,
        )
        return self.episode

    def next_frame(self) -> Frame | None:
        """Let time pass until the policy has a picture to answer; None when the episode is over before.

        As the node does it: one picture a control period, none that is too old.
        """
        while not self._over:
            self._camera.look(self._free)
            if (frame := self._camera.newest()) is not None and self._due(frame.observation.stamp):
                return frame
            self._step()
        return None

    def _due(self, stamp: float) -> bool:
        """Whether a picture of that time [s] is answered."""
        if self.env.time - stamp > self._oldest + SLACK:
            return False
        return self._pacer.judge(stamp, self._timing.period) is Verdict.TICK

    def answer(self, frame: Frame, keep_image: bool) -> TickRecord | None:
        """Infer, and let time pass until the answer has come; None when the policy had no valid action."""
        observation, target = frame.observation, frame.target
        moved_at = self._loop.effect.moved_at
        if moved_at is not None and observation.stamp >= moved_at and target is not None and frame.in_sight:
            self.episode.moved = self.episode.moved or Move(observation.stamp, target)
        began = time.perf_counter()
        try:
            result = self.policy.infer(observation)
        except ActionError:
            self._think(Work(time.perf_counter() - began, 1.0, 1 + STEPS, self._plain))
            return None
        self.policy.settle()
        fresh = result.reuse.fresh / result.reuse.visual
        took = self._think(Work(result.timings.total, fresh, result.decoder_passes, self._plain))
        if not self._over:
            self._deliver(result, observation.stamp, took)
        return TickRecord(
            observation.stamp,
            milliseconds(result.timings),
            result.reuse.codes.reshape(self.policy.info.grid),
            result.decoder_passes,
            frame.tool,
            None if target is None else not result.reuse.fresh_mask[target],
            observation.images[0] if keep_image else None,
            observation.state,
        )

    def _think(self, work: Work) -> float:
        """Let the time pass that an answer takes; how long that is [s]."""
        took = self._timing.latency.seconds(work, self._rng)
        self._free = self.env.time + took
        while self.env.time < self._free - SLACK and not self._over:
            self._camera.look(self._free)
            self._step()
        return took

    def _deliver(self, result: Result, stamp: float, took: float) -> None:
        """Let the arm follow an answer if it comes in time."""
        late = self.episode.late
        late.took.append(took)
        late.stale += self.env.time > stamp + self._timing.period * len(result.actions) + SLACK
        try:
            self._loop.offer(result.actions, stamp, self._timing.period)
            self._followed = stamp
        except ChunkError:
            late.refused += 1

    def _step(self) -> None:
        """Let one command pass."""
        age = self.env.time - self._followed
        if self._loop.step():
            self.episode.late.ages.append(age)

    @property
    def happened(self) -> bool:
        """Whether the episode's disturbance has come about."""
        return self._loop.effect.happened

    @property
    def _over(self) -> bool:
        limit = self._limit or self._loop.effect.asked_at + self.env.task.seconds
        return self.env.success or self.env.time >= limit - SLACK


def run_in_process(
    arm: SimulatedArm,
    trials: Sequence[Trial],
    observer: Observer,
    limit: float | None = None,
    keep_images: bool = False,
) -> Iterator[EpisodeRecord]:
    """Run the trials one after the other; yields each episode as it ends.

    limit: simulated seconds per episode, None for that of its family.
    """
    for trial in trials:
        episode = arm.start(trial, limit)
        observer.begin(episode)
        while (frame := arm.next_frame()) is not None:
            episode.instruction = frame.observation.instruction
            tick = arm.answer(frame, keep_images)
            if tick is None:
                episode.faults += 1
            else:
                episode.ticks.append(tick)
                observer.tick(episode, tick)
            observer.idle(episode)
        env = arm.env
        episode.success, episode.duration, episode.reached = env.success, env.time, env.reached
        episode.happened = arm.happened
        observer.end(episode)
        yield episode
