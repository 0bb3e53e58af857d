"""The same episodes inside one process, without ROS: simulated time, so that nothing depends on the machine's speed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from ..control import ActionChunk, Commander, limits_of, rules_of
from ..engine import ActionError, Observation, Policy, Result
from ..settings import default_settings
from ..sim import Environment
from .plan import Observer, Trial
from .records import Episode, Tick

STEP = 0.02  # seconds between two commands, as at the command node's rate
SCALE = 1.0  # of actions: a simulator needs no caution
LATENCY = 0.02  # seconds of simulated time from image to the first command that follows its action


class Arm:
    """Simulator, commander and policy wired together as the nodes are, with the defaults of config/policy.yaml."""

    def __init__(self, policy: Policy) -> None:
        command, simulator = default_settings("command"), default_settings("simulator")
        self.policy = policy
        self.env = Environment(image_size=simulator["camera.size"])
        self.frame = str(command["action_frame"])
        self.period = float(default_settings("policy")["control_period"])
        self._limits, self._rules = limits_of(command), replace(rules_of(command), scale=SCALE)

    def close(self) -> None:
        """Release the renderer."""
        self.env.close()

    def start(self, trial: Trial) -> Episode:
        """Set the scene of a trial."""
        self.policy.set_tunables(trial.configuration.tunables)
        self.policy.reset()
        self.env.reset(trial.task, trial.seed)
        self._commander = Commander(self._limits, self.frame, self._rules)
        self._commander.anchor(self.env.pose)
        return Episode(trial.configuration.name, trial.task, trial.seed, self.env.instruction)

    def tick(self, keep_image: bool) -> Tick | None:
        """Look, think, and let one control period pass; None when the policy had no valid action."""
        stamp, image, tool = self.env.time, self.env.render(), self.env.pose.position
        target = self._target_token()
        try:
            result = self.policy.infer(Observation((image,), self.env.instruction, stamp))
        except ActionError:
            self._advance(None)
            return None
        self.policy.settle()
        self._advance(ActionChunk(stamp, self.period, result.actions, self.frame))
        return Tick(
            stamp,
            latencies(result),
            result.reuse.codes.reshape(self.policy.info.grid),
            result.decoder_passes,
            tool,
            None if target is None else not result.reuse.fresh_mask[target],
            image if keep_image else None,
        )

    def _target_token(self) -> int | None:
        """The visual token that shows the cube in question; None when it is out of sight."""
        place = self.env.project(self.env.cube_position(self.env.goal.colour))
        if not ((place >= 0) & (place < 1)).all():
            return None
        rows, columns = self.policy.info.grid
        return int(place[1] * rows) * columns + int(place[0] * columns)

    def _advance(self, chunk: ActionChunk | None) -> None:
        """Let one control period pass; the action, if any, arrives a little late."""
        steps, late = round(self.period / STEP), round(LATENCY / STEP)
        for step in range(steps):
            if chunk is not None and step == late:
                self._commander.offer(chunk, self.env.time)
            command = self._commander.command(self.env.time, self.env.pose)
            self.env.set_target(command.pose, command.opening)
            self.env.advance(STEP)


def latencies(result: Result) -> dict[str, float]:
    """Stage latencies [ms]."""
    return {field.name: getattr(result.timings, field.name) * 1e3 for field in fields(result.timings)}


def run(
    arm: Arm,
    trials: Sequence[Trial],
    observer: Observer,
    limit: float | None = None,
    keep_images: bool = False,
) -> Iterator[Episode]:
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
        episode.success, episode.duration = arm.env.success, arm.env.time
        observer.end(episode)
        yield episode
