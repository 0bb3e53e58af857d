"""Episodes through ROS topics: simulator, policy and command node as processes, driven from here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..sim import find_task
from .bringup import brought_up
from .client import Client
from .plan import Observer, Trial
from .records import EpisodeRecord

SIMULATED = {"command": {"action_scale": 1.0}}  # a simulated arm needs no caution
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


def connected(session: Session) -> AbstractContextManager[Client]:
    """Bring simulator, command node and policy up as `session` says; see `brought_up`."""
    nodes = {
        name: {**SIMULATED.get(name, {}), **session.parameters.get(name, {})}
        for name in ("simulator", "command", "policy")
    }
    return brought_up(nodes, session.folder, session.domain, session.keep_images)


def run_on_nodes(
    client: Client, trials: Sequence[Trial], limit: float | None, observer: Observer
) -> Iterator[EpisodeRecord]:
    """Run the trials one after the other; yields each episode as it ends. `limit`: as in Session."""
    configuration = None
    for trial in trials:
        if trial.configuration != configuration:
            configuration = trial.configuration
            client.set_parameters("policy", configuration.tunables.parameters)
        yield _run_one(client, trial, limit or find_task(trial.task).seconds, observer)


def _run_one(client: Client, trial: Trial, limit: float, observer: Observer) -> EpisodeRecord:
    """One episode: set the scene, say what is wanted, let the arm move, watch."""
    client.disable()
    client.set_parameters("simulator", {"seed": trial.seed})
    client.success = client.asked = None
    client.trigger(f"simulator/task/{trial.task}")
    client.wait(lambda: client.success is False and client.asked is not None, START_PATIENCE, "the new episode")
    assert client.asked is not None
    episode = EpisodeRecord(trial.configuration.name, trial.task, trial.seed, client.asked)
    observer.begin(episode)
    client.instruct(client.asked)
    begin = client.now()
    client.trigger("policy/reset")
    client.enable()
    while client.now() - begin < limit and not client.success:
        _watch(client, episode, begin, observer)
    episode.success, episode.duration = bool(client.success), client.now() - begin
    if episode.success:
        end = client.now() + FAREWELL
        while client.now() < end:
            _watch(client, episode, begin, observer)
    client.disable()
    observer.end(episode)
    return episode


def _watch(client: Client, episode: EpisodeRecord, begin: float, observer: Observer) -> None:
    """Let a moment pass and take in what was answered; ticks on images from before the start don't count."""
    client.spin(0.04)
    if client.asked is not None and client.asked != episode.instruction:  # the next goal of the task
        episode.instruction = client.asked
        client.instruct(client.asked)
    for tick in client.take_ticks():
        if tick.stamp >= begin:
            episode.ticks.append(tick)
            observer.tick(episode, tick)
    observer.idle(episode)
