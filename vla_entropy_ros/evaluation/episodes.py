"""Episodes through ROS topics: simulator, policy and command node as processes, driven from here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifecycle_msgs.msg import Transition
from rclpy.context import Context

from ..sim import TASKS
from .client import Client
from .plan import Observer, RunError, Trial
from .processes import Processes
from .records import Episode

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


def free_domain() -> int:
    """A DDS domain that another run on this machine is unlikely to use."""
    return 1 + os.getpid() % 100  # up to 101 is safe from port clashes on Linux


def environment(domain: int) -> dict[str, str]:
    """What the nodes and the runner run under: DDS on this machine only, one thread each."""
    return {
        "OMP_NUM_THREADS": "1",  # simulator and policy share the cores; more threads make both slower
        **os.environ,
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_DOMAIN_ID": str(domain),
    }


@contextlib.contextmanager
def connected(session: Session) -> Iterator[Client]:
    """Start the nodes and configure and activate the policy; at the end, whatever comes, no process is left."""
    settings = environment(session.domain)
    with under(settings), Processes(session.folder, settings) as processes:
        nodes = {
            name: processes.start(name, {**SIMULATED.get(name, {}), **session.parameters.get(name, {})})
            for name in ("simulator", "command", "policy")
        }
        context = Context()
        context.init()
        client = Client(context, processes.check, session.keep_images)
        try:
            client.wait_for_graph()
            try:
                client.change_state(Transition.TRANSITION_CONFIGURE, "configure")
            except RunError as error:
                raise RunError(f"{error}: {nodes['policy'].last_words()}") from error
            client.change_state(Transition.TRANSITION_ACTIVATE, "activate")
            yield client
        finally:
            client.close()
            context.try_shutdown()


@contextlib.contextmanager
def under(values: dict[str, str]) -> Iterator[None]:
    """Run under these environment variables: rclpy reads them when a context begins."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run(client: Client, trials: Sequence[Trial], limit: float | None, observer: Observer) -> Iterator[Episode]:
    """Run the trials one after the other; yields each episode as it ends. `limit`: as in Session."""
    configuration = None
    for trial in trials:
        if trial.configuration != configuration:
            configuration = trial.configuration
            client.set_parameters("policy", configuration.tunables.parameters)
        yield _run_one(client, trial, limit or TASKS[trial.task].seconds, observer)


def _run_one(client: Client, trial: Trial, limit: float, observer: Observer) -> Episode:
    """One episode: set the scene, say what is wanted, let the arm move, watch."""
    client.disable()
    client.set_parameters("simulator", {"seed": trial.seed})
    client.success = client.asked = None
    client.trigger(f"simulator/task/{trial.task}")
    client.wait(lambda: client.success is False and client.asked is not None, START_PATIENCE, "the new episode")
    assert client.asked is not None
    episode = Episode(trial.configuration.name, trial.task, trial.seed, client.asked)
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


def _watch(client: Client, episode: Episode, begin: float, observer: Observer) -> None:
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
