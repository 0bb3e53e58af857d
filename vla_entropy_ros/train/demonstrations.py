"""Images with the expert's action for every cube in sight, from the expert itself or from a policy it corrects."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..control import Limits
from ..engine import ActionError, Policy
from ..engine.tunables import Tunables
from ..evaluation.closed_loop import ClosedLoop
from ..sim import COLOURS, GOALS, TASKS, Environment, Goal, family_tasks
from ..sim.expert import expert_action

PERIOD = 0.1  # seconds per action
AFTER_SUCCESS = 4  # ticks recorded after the task is done
SHARES = {"pick": 0.2, "put": 0.35, "push": 0.2, "long": 0.25}  # of the episodes, by family
TOOL = len(COLOURS) + 1  # index of the tool among the objects; the plate comes before it, the shadow of the hand after
PLACED = TOOL + 1  # objects that have a place in the world
OBJECTS = PLACED + 1  # those that have one in the image
FRAME = "base"

OBSERVED = ("images", "actions", "points", "places", "opening", "goal")


@dataclass
class Demonstrations:
    """Arrays over n images.

    images [n, S, S, 3] uint8; actions [n, 16, 7]: the expert's action towards each of GOALS (m, rad, opening), NaN
    where that cube is absent; points [n, OBJECTS, 2]: where cubes, plate, tool and its shadow appear (0..1), NaN where
    out of sight; places [n, PLACED, 3]: where cubes, plate and tool are [m]; opening [n] of the gripper; goal [n]:
    index of the running goal.
    """

    images: NDArray[np.uint8]
    actions: NDArray[np.float32]
    points: NDArray[np.float32]
    places: NDArray[np.float32]
    opening: NDArray[np.float32]
    goal: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def at_cube(self) -> NDArray[np.int64]:
        """Images with the tool at the goal's cube: the expert would push it left or right, not go there first."""
        left, right = (
            np.stack([self.actions[:, GOALS.index(Goal(skill, colour))] for colour in COLOURS], 1)
            for skill in ("push_left", "push_right")
        )  # [n, 4, 7]
        differ = (np.abs(left - right) > 1e-3).any(-1)
        return np.flatnonzero(differ[np.arange(len(self)), self.goal % len(COLOURS)])

    def save(self, folder: Path) -> None:
        """Write a folder of .npy files, complete or not at all."""
        unfinished = folder.with_suffix(".tmp")
        unfinished.mkdir(parents=True, exist_ok=True)
        for name in OBSERVED:
            np.save(unfinished / f"{name}.npy", getattr(self, name))
        unfinished.replace(folder)

    @classmethod
    def load(cls, *folders: Path) -> Demonstrations:
        """Read folders written by `save`, one after the other; those of a single one stay on disk (memory-mapped)."""
        parts = {name: [np.load(f / f"{name}.npy", mmap_mode="r") for f in folders] for name in OBSERVED}
        return cls(**{name: p[0] if len(p) == 1 else np.concatenate(p) for name, p in parts.items()})


def labels(env: Environment) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], np.float32, int]:
    """Actions [16, 7], points [OBJECTS, 2], places [PLACED, 3], opening and index of the goal, of this instant."""
    actions = np.full((len(GOALS), 7), np.nan, np.float32)
    points = np.full((OBJECTS, 2), np.nan, np.float32)
    for number, goal in enumerate(GOALS):
        if goal.colour in env.present:
            actions[number] = expert_action(env, goal)
    tool = env.pose.position
    cubes = [env.cube_position(colour) for colour in COLOURS]
    places = np.array([*cubes, np.append(env.plate_position, 0.0), tool], np.float32)
    for number, place in enumerate((*places, np.append(tool[:2], 0.0))):
        points[number] = env.project(place)
    points[((points < 0) | (points >= 1)).any(axis=1)] = np.nan
    return actions, points, places, np.float32(env.opening), GOALS.index(env.goal)


class DemonstrationEpisode:
    """One running episode: its closed loop, how late its actions arrive, and the disturbances it suffers."""

    def __init__(self, size: int, noise: float) -> None:
        self.env = Environment(size, jitter=True)
        self.loop = ClosedLoop(self.env, FRAME, PERIOD, Limits())
        self.noise = noise

    def start(self, seed: int) -> None:
        """Reset everything by `seed`."""
        self.rng = np.random.default_rng([seed, 77])
        family = self.rng.choice(list(SHARES), p=list(SHARES.values()))
        self.task = TASKS[self.rng.choice(family_tasks(family))]
        self.loop.start(self.task.name, seed)
        self.late = int(self.rng.integers(1, self.loop.steps))  # commands from image to motion
        self.bias = self.rng.normal(0, 0.15 * self.noise, 3)
        self.burst, self.push = 0, np.zeros(7)
        self.ticks, self.after = 0, 0

    @property
    def done(self) -> bool:
        """Long enough, or some ticks past success."""
        return self.ticks >= self.task.seconds / PERIOD or self.after > AFTER_SUCCESS

    def disturb(self, action: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
        """Add noise, and now and then a few ticks of a random motion, so that the expert shows how to recover."""
        if self.noise == 0.0:
            return action
        if self.burst == 0 and self.rng.random() < 0.05:
            self.burst = int(self.rng.integers(2, 7))
            gripper = float(self.rng.random() < 0.5) if self.rng.random() < 0.4 else action[6]
            self.push = np.array([*self.rng.uniform(-1, 1, 3) * scale, 0, 0, 0, gripper])
        if self.burst > 0:
            self.burst -= 1
            return self.push
        noisy = action.copy()
        noisy[:3] += (self.rng.normal(0, 0.2 * self.noise, 3) + self.bias) * scale * 0.6
        return noisy

    def advance(self, action: NDArray[np.float64]) -> None:
        """Let one control period pass; `action` [7] arrives late."""
        self.loop.advance(action[None], self.late)
        self.ticks += 1
        self.after += self.env.success


def record(
    seed: int, count: int, size: int, scale: float, noise: float, policy: Policy | None = None
) -> Demonstrations:
    """Record `count` images of episodes driven by `policy`, or by the expert where there is none."""
    episode = DemonstrationEpisode(size, noise)
    rows: list[tuple[NDArray | np.float32 | int, ...]] = []
    fresh, next_seed = True, seed
    while len(rows) < count:
        if fresh:
            episode.start(next_seed)
            next_seed += 1
            if policy:
                policy.reset()
        env = episode.env
        observation = episode.loop.observe()
        rows.append((observation.images[0], *labels(env)))
        action = expert_action(env)
        if policy:
            with suppress(ActionError):  # a beginner's token that is no action: the expert steps in
                action = policy.infer(observation).actions[0]
        episode.advance(episode.disturb(action, scale))
        fresh = episode.done
    episode.env.close()
    return Demonstrations(*(np.stack(column) for column in zip(*rows, strict=True)))


def _record_part(
    seed: int, count: int, size: int, scale: float, noise: float, checkpoint: str | None, folder: str
) -> int:
    """Worker: records one part into `folder`; the policy, if any, is loaded as it would be for a robot."""
    import torch

    torch.set_num_threads(1)
    policy = None
    if checkpoint:
        tokens = (size // 14) ** 2
        everything = replace(Tunables.default(tokens), mode="full", max_gap=3600.0)
        policy = Policy.load(checkpoint, tunables=everything)
    record(seed, count, size, scale, noise, policy).save(Path(folder))
    return count


def collect(
    folder: Path,
    seed: int,
    count: int,
    size: int,
    scale: float,
    noise: float,
    checkpoint: Path | None = None,
    processes: int = 2,
    part: int = 500,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Path]:
    """Record `count` images into folders below `folder`; parts that are there already stay.

    The parts are spread over processes; the seed alone decides the result, not `processes`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [min(part, count - start) for start in range(0, count, part)]
    parts = [folder / f"part-{number:04d}" for number in range(len(sizes))]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        jobs = []
        for number, (images, path) in enumerate(zip(sizes, parts, strict=True)):
            if path.exists():
                progress(images)
                continue
            where = str(checkpoint) if checkpoint else None
            jobs.append(pool.submit(_record_part, seed + 10_000 * number, images, size, scale, noise, where, str(path)))
        for job in as_completed(jobs):
            progress(job.result())
    return parts
