"""The same episodes inside one process, without ROS: simulated time, so that nothing depends on the machine's speed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..control import limits_of, rules_of
from ..engine import ActionError, Policy
from ..settings import default_settings
from ..sim import Environment
from .closed_loop import ClosedLoop
from .plan import Observer, Trial
from .records import EpisodeRecord, Move, TickRecord
from .stages import milliseconds

SCALE = 1.0  # of actions: a simulator needs no caution
LATE = 1  # commands, 0.02 s of simulated time, from an image to the first one that follows its action


class SimulatedArm:
    """A policy in closed loop with the simulated arm, with the defaults of config/policy.yaml."""

    def __init__(self, policy: Policy) -> None:
        command, simulator = default_settings("command"), default_settings("simulator")
        self.policy = policy
        self.env = Environment(image_size=simulator["camera.size"])
        self.period = float(default_settings("policy")["control_period"])
        rules = replace(rules_of(command), scale=SCALE)
        self._loop = ClosedLoop(self.env, str(command["action_frame"]), self.period, limits_of(command), rules)

    def close(self) -> None:
        """Release the renderer."""
        self.env.close()

    def start(self, trial: Trial) -> EpisodeRecord:
        """Set the scene of a trial."""
        self.policy.set_tunables(trial.configuration.tunables)
        self.policy.reset()
        self._loop.start(trial.task, trial.seed, trial.disturbance)
        self.moved: Move | None = None
        told = trial.disturbance.label if trial.disturbance else None
        return EpisodeRecord(trial.configuration.name, trial.task, trial.seed, self.env.instruction, disturbance=told)

    def tick(self, keep_image: bool) -> TickRecord | None:
        """Observe, infer, and let one control period pass; None when the policy had no valid action."""
        observation, tool, target = self._loop.observe(), self.env.pose.position, self._target_token()
        if self._loop.effect.moved_at == observation.stamp and target is not None:
            self.moved = Move(observation.stamp, target)
        try:
            result = self.policy.infer(observation)
        except ActionError:
            self._loop.advance(None, LATE)
            return None
        self.policy.settle()
        self._loop.advance(result.actions, LATE)
        return TickRecord(
            observation.stamp,
            milliseconds(result.timings),
            result.reuse.codes.reshape(self.policy.info.grid),
            result.decoder_passes,
            tool,
            None if target is None else not result.reuse.fresh_mask[target],
            observation.images[0] if keep_image else None,
            observation.state,
        )

    def _target_token(self) -> int | None:
        """Find the visual token that shows the cube in question; None when it is out of sight."""
        place = self.env.project(self.env.cube_position(self.env.goal.colour))
        place += self._loop.effect.offset / self.env.image_size
        if not ((place >= 0) & (place < 1)).all():
            return None
        rows, columns = self.policy.info.grid
        return int(place[1] * rows) * columns + int(place[0] * columns)


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
        episode = arm.start(trial)
        observer.begin(episode)
        while arm.env.time < (limit or arm.env.task.seconds) and not arm.env.success:
            episode.instruction = arm.env.instruction
            tick = arm.tick(keep_images)
            if tick is None:
                episode.faults += 1
            else:
                episode.ticks.append(tick)
                observer.tick(episode, tick)
            observer.idle(episode)
        episode.success, episode.duration, episode.moved = arm.env.success, arm.env.time, arm.moved
        observer.end(episode)
        yield episode
