"""Episodes through ROS topics: simulator, policy and command node as processes, driven from here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..sim import find_task
from .bringup import brought_up
from .errors import need
from .plan import Observer, Trial
from .records import EpisodeRecord
from .witness import Witness

# A simulated arm needs no caution; each goal of a task takes the place of the one before, and lasts to the limit.
SIMULATED: dict[str, dict[str, Any]] = {
    "command": {"action_scale": 1.0},
    "policy": {"goal.preempt": True, "goal.patience": 60.0},
}
START_PATIENCE = 30.0  # seconds until a new episode shows in the simulator's topics
FAREWELL = 0.5  # seconds recorded after success, so that it can be seen


@dataclass(frozen=True)
class Session:
    """How the nodes are run: folder of their logs, DDS domain, node parameters.

    limit: seconds an episode may take, None for those of its family.
    """

    folder: Path
    domain: int
    limit: float | None = None
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    keep_images: bool = False


def connected(session: Session) -> AbstractContextManager[Witness]:
    """Bring simulator, command node and policy up as `session` says; see `brought_up`."""
    nodes = {
        name: {**SIMULATED.get(name, {}), **session.parameters.get(name, {})}
        for name in ("simulator", "command", "policy")
    }
    return brought_up(nodes, session.folder, session.domain, session.keep_images)


def run_on_nodes(
    witness: Witness, trials: Sequence[Trial], limit: float | None, observer: Observer
) -> Iterator[EpisodeRecord]:
    """Run the trials one after the other; yields each episode as it ends. `limit`: as in Session."""
    configuration = None
    for trial in trials:
        if trial.configuration != configuration:
            configuration = trial.configuration
            need(witness.client.set(configuration.tunables.parameters))
        yield _run_one(witness, trial, limit or find_task(trial.task).seconds, observer)


def _run_one(witness: Witness, trial: Trial, limit: float, observer: Observer) -> EpisodeRecord:
    """One episode: set the scene, say what is wanted, let the arm move, watch."""
    client = witness.client
    need(client.disable())
    need(client.set(node="simulator", seed=trial.seed))
    witness.success = witness.asked = None
    need(client.trigger(f"simulator/task/{trial.task}"))
    witness.wait(lambda: witness.success is False and witness.asked is not None, START_PATIENCE, "the new episode")
    assert witness.asked is not None
    episode = EpisodeRecord(trial.configuration.name, trial.task, trial.seed, witness.asked)
    observer.begin(episode)
    _run_goal(witness, witness.asked)
    begin = witness.now()
    need(client.reset())
    need(client.enable())
    while witness.now() - begin < limit and not witness.success and not client.is_done:
        _watch(witness, episode, begin, observer)
    episode.success, episode.duration = bool(witness.success), witness.now() - begin
    if episode.success:
        end = witness.now() + FAREWELL
        while witness.now() < end:
            _watch(witness, episode, begin, observer)
    client.cancel()
    need(client.disable())
    observer.end(episode)
    return episode


def _run_goal(witness: Witness, instruction: str) -> None:
    """Have the policy do what the task asks for; without a heartbeat, as the nodes end with this process."""
    need(witness.client.run(instruction, timeout=0.0, heartbeat=0.0))


def _watch(witness: Witness, episode: EpisodeRecord, begin: float, observer: Observer) -> None:
    """Let a moment pass and take in what was answered; ticks on images from before the start don't count."""
    witness.spin(0.04)
    if witness.asked is not None and witness.asked != episode.instruction:  # the next goal of the task
        episode.instruction = witness.asked
        _run_goal(witness, witness.asked)
    for tick in witness.take_ticks():
        if tick.stamp >= begin:
            episode.ticks.append(tick)
            observer.tick(episode, tick)
    observer.idle(episode)
