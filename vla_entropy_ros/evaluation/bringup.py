"""Bring nodes up as processes and connect to them; at the end, whatever comes, none is left."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rclpy.context import Context

from ..client import VlaClient
from ..nodes.common.goals import ACTIVE
from ..nodes.common.twins import TWO
from .errors import RunError
from .interruption import deferred
from .processes import Processes
from .witness import Witness

PATIENCE = 30.0  # seconds a service may take on a busy machine
ELDER = 3.0  # seconds for which the policy of another run is listened for, where a node of it was met


def free_domain() -> int:
    """Choose a DDS domain that another run on this machine is unlikely to use."""
    return 41 + os.getpid() % 60  # up to 101 is safe from port clashes on Linux; those below are for hand-made ones


def environment(domain: int) -> dict[str, str]:
    """Environment of the nodes and of this process: DDS on this machine only, one thread each."""
    return {
        "OMP_NUM_THREADS": "1",  # simulator and policy share the cores; more threads make both slower
        **os.environ,
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_DOMAIN_ID": str(domain),
    }


@contextlib.contextmanager
def under(values: Mapping[str, str]) -> Iterator[None]:
    """Run under these environment variables: rclpy reads them when a context begins."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _context() -> Iterator[Context]:
    """A context for the domain that holds now: another run in this process may have another one."""
    context = Context()
    context.init()
    try:
        yield context
    finally:
        context.try_shutdown()


def _acts(client: VlaClient) -> bool:
    """Whether an active policy speaks from now on."""
    began = time.monotonic()
    return client.link.wait(
        lambda: client.silent < time.monotonic() - began and client.feedback.policy == ACTIVE, ELDER
    )


@contextlib.contextmanager
def brought_up(
    nodes: Mapping[str, Mapping[str, Any]], folder: Path, domain: int, keep_images: bool = False
) -> Iterator[Witness]:
    """Start `nodes`, the policy among them, configure and activate it, and yield a witness; raises RunError.

    nodes: parameters by name; folder: for their logs; keep_images: whether the witness hears the camera. Ctrl-C and the
    other signals that end a run are raised where the caller waits.
    """
    settings = environment(domain)
    with under(settings), deferred() as interruption, Processes(folder, settings) as processes:
        running = {name: processes.start(name, parameters) for name, parameters in nodes.items()}

        def taken(node: str) -> RunError:
            return RunError(f"DDS domain {domain} has a {node} already: end it, or take another domain")

        def check() -> None:
            interruption.check()
            try:
                processes.check()
            except RunError as error:  # a node may hear its elder before we do
                twin = next((f"/{name}" for name in running if f"{TWO} /{name}:" in str(error)), None)
                if twin is None:
                    raise
                processes.stop()  # what speaks from now on is the other run's
                raise taken(client.link.path("policy") if _acts(client) else twin) from None

        with (
            _context() as context,
            VlaClient(context=context, check=check, patience=PATIENCE, name="evaluation") as client,
        ):
            witness = Witness(client, keep_images)
            witness.wait_for_graph(nodes)
            witness.wait(lambda: client.silent < math.inf, PATIENCE, "the policy's word of itself")
            if client.feedback.policy == ACTIVE:  # one that has just been started is not
                raise taken(client.link.path("policy"))
            if not (answer := client.bring_up()):
                raise RunError(f"{answer.words}: {running['policy'].last_words()}")
            if client.several is not None:  # the active one was another run's
                raise taken(client.link.path("policy"))
            yield witness
