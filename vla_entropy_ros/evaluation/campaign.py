"""Many episodes spread over processes, or machines: each scene under every configuration, finished ones kept."""

from __future__ import annotations

import atexit
import functools
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..construct import construct
from .configurations import Configuration
from .disturbances import Disturbance
from .errors import RunError
from .outcomes import Key, Outcome, line, outcome
from .plan import Silent, Trial
from .timing import Timing

PATIENCE = 60  # seconds until the processes of this machine, or a scheduler elsewhere, must have answered or ended
SETTINGS = "settings"  # of a plan: those of its configurations, by name
HASTE = 5.0  # seconds the processes have to end when the run is broken off


@dataclass(frozen=True)
class Scene:
    """One episode's task, seed and disturbance, and the configurations that shall see it.

    checkpoint: folder of the policy; limit: seconds it may take, None by family; timing: as in Trial.
    """

    task: str
    seed: int
    configurations: tuple[Configuration, ...]
    checkpoint: str
    limit: float | None
    disturbance: Disturbance | None = None
    timing: Timing | None = None

    @property
    def conditions(self) -> tuple[str | None, str | None]:
        """Labels of disturbance and timing, as outcomes have them."""
        disturbance, timing = self.disturbance, self.timing
        return disturbance.label if disturbance else None, timing.label if timing else None

    def key(self, configuration: Configuration) -> Key:
        """That of the outcome under one configuration."""
        return configuration.name, self.task, self.seed, self.conditions


def run_scene(scene: Scene) -> list[Outcome]:
    """One scene under each configuration in turn, so that a busy moment of the machine hits all alike."""
    from . import inprocess

    arm = simulated_arm(scene.checkpoint)
    start = scene.seed % len(scene.configurations)  # none is always the first
    order = scene.configurations[start:] + scene.configurations[:start]
    trials = [Trial(each, scene.task, scene.seed, scene.disturbance, scene.timing) for each in order]
    return [outcome(episode, arm.period) for episode in inprocess.run_in_process(arm, trials, Silent(), scene.limit)]


def simulated_arm(checkpoint: str) -> Any:
    """The arm of this thread, of which a Dask worker may have many: a policy remembers, a renderer knows one thread."""
    return _arm_of(checkpoint, threading.get_ident())


@functools.lru_cache(maxsize=64)
def _arm_of(checkpoint: str, _thread: int) -> Any:
    """Make it once: loading a policy takes longer than an episode."""
    import torch

    from ..engine import Policy
    from .inprocess import SimulatedArm

    torch.set_num_threads(1)
    policy = Policy.load(checkpoint)
    policy.self_test()
    policy.warm_up()
    arm = SimulatedArm(policy)
    atexit.register(arm.close)  # while the GL library is still there
    return arm


def spread(scenes: Sequence[Scene], processes: int, cluster: str | None = None) -> Iterator[list[Outcome]]:
    """Outcomes of the scenes as they are finished, from `processes` processes here or the Dask scheduler `cluster`.

    RunError in one line if a scene fails or the scheduler can't be reached.
    """
    if processes == 1 and cluster is None:
        yield from map(run_scene, scenes)
        return
    from distributed import as_completed

    with _client(processes, cluster) as client:
        jobs = [client.submit(run_scene, scene, pure=False, retries=1) for scene in scenes]
        for job in as_completed(jobs):
            if job.status != "finished":
                raise RunError(f"an episode failed: {job.exception()}")
            yield job.result()


@contextmanager
def _client(processes: int, cluster: str | None) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster, Nanny

    patience = HASTE

    class Keeper(Nanny):
        """Waits for its process to end as long as the run allows, where Dask has 5 s for all."""

        async def close(  # type: ignore[override]  # as Dask's own
            self, timeout: float | None = None, reason: str = "nanny-close"
        ) -> Literal["OK"]:
            return await super().close(timeout or patience, reason)

    quiet = {"distributed.logging.distributed": "error", "distributed.admin.tick.limit": "1h"}
    with dask.config.set({**quiet, "distributed.worker.daemon": True}):
        if cluster is not None:
            try:
                client = Client(cluster, timeout=PATIENCE)
            except (OSError, ValueError) as error:
                raise RunError(f"no Dask scheduler at {cluster}: {error} (expected tcp://host:port)") from error
            with client:
                try:
                    client.wait_for_workers(1, timeout=PATIENCE)
                except TimeoutError as error:
                    raise RunError(
                        f"the Dask scheduler at {cluster} has no worker: start dask worker {cluster}"
                    ) from error
                yield client
            return
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        with (
            LocalCluster(
                n_workers=processes,
                worker_class=Keeper,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # else a second run finds the usual port taken
                silence_logs=50,
            ) as local,
            Client(local, timeout=PATIENCE) as client,
        ):
            yield client
            patience = PATIENCE  # all is done: on a busy machine a process may need its time to take torch to pieces


class Ledger:
    """Outcomes of a run in one folder, a line of JSON each; a run that was stopped goes on from them."""

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        """Open `folder`; RunError if it holds a run of another plan (what decides the outcomes), or of another kind.

        plan["settings"], by configuration: some may be new, and join those of before.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._file, asked = folder / "episodes.jsonl", folder / "plan.json"
        before = _read_plan(asked) if asked.exists() else plan
        mine, theirs = plan.get(SETTINGS, {}), before.get(SETTINGS, {})
        other = {key for key in {*before, *plan} - {SETTINGS} if before.get(key) != plan.get(key)}
        if any(theirs.get(name, values) != values for name, values in mine.items()):
            other.add(SETTINGS)
        if other:
            raise RunError(f"{folder} holds a run with other {', '.join(sorted(other))}: choose another --output")
        plan = {**plan, SETTINGS: {**theirs, **mine}}
        if not asked.exists() or plan != before:
            whole = folder / "plan.json.new"  # a kill leaves the old one or the new one
            whole.write_text(json.dumps(plan, indent=1) + "\n")
            whole.replace(asked)
        try:
            read = [construct(Outcome, json.loads(line), str(self._file)) for line in self._lines()]
        except ValueError as error:
            raise RunError(f"{error}: choose another --output") from error
        self.outcomes = list({o.key: o for o in read}.values())  # none twice

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Keep the outcomes of a scene."""
        self.outcomes += outcomes
        with self._file.open("a") as file:
            file.writelines(json.dumps(line(o)) + "\n" for o in outcomes)

    def missing(self, scenes: Sequence[Scene]) -> list[Scene]:
        """List the scenes without all their outcomes, each with the configurations that it lacks."""
        done = {o.key for o in self.outcomes}
        left = []
        for scene in scenes:
            lacking = tuple(c for c in scene.configurations if scene.key(c) not in done)
            if lacking:
                left.append(replace(scene, configurations=lacking))
        return left

    def _lines(self) -> list[str]:
        """Complete lines; one that a kill cut short is dropped from the file."""
        if not self._file.exists():
            return []
        content = self._file.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(self._file, len(whole))
        return whole.decode().splitlines()


def _read_plan(file: Path) -> dict[str, Any]:
    """What a run was asked for; RunError where the file is none."""
    try:
        plan = json.loads(file.read_text())
    except ValueError as error:
        raise RunError(f"{file} is no plan of a run ({error}): choose another --output") from error
    if not isinstance(plan, dict):
        raise RunError(f"{file} is no plan of a run: choose another --output")
    return plan
