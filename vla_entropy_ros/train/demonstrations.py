"""Images with the expert's action for every cube in sight, from the expert itself or from a policy it corrects."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..control import ActionChunk, Commander, Limits
from ..sim import COLOURS, TASKS, Environment
from ..sim.environment import CONTROL_STEP
from ..sim.expert import expert_action

PERIOD = 0.1  # seconds per action
SUBSTEPS = round(PERIOD / CONTROL_STEP)
EPISODE_TICKS = 60
AFTER_SUCCESS = 4  # ticks recorded after the task is done
OBJECTS = len(COLOURS) + 1  # the cubes and the tool
FRAME = "base"

# act(images [B, H, W, 3], instructions) -> actions [B, 7]
Act = Callable[[NDArray[np.uint8], list[str]], NDArray[np.float64]]


@dataclass
class Demonstrations:
    """Arrays over n images.

    images [n, S, S, 3] uint8; actions [n, 4, 7]: the expert's action for each colour (m, rad, opening), NaN where that
    cube is absent; points [n, 5, 2]: where cubes and tool appear (0..1), NaN where out of sight; tool [n, 2]: height
    [m] and opening.
    """

    images: NDArray[np.uint8]
    actions: NDArray[np.float32]
    points: NDArray[np.float32]
    tool: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def join(cls, parts: list[Demonstrations]) -> Demonstrations:
        """All parts, in order."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def save(self, path: Path) -> None:
        """Write an .npz file."""
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Demonstrations:
        """Read an .npz file."""
        with np.load(path) as data:
            return cls(**{f.name: data[f.name] for f in fields(cls)})


def shrink(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Camera image to the policy's size, by the resize of the engine's preprocessing."""
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))


def labels(env: Environment) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Expert actions [4, 7], image points [5, 2] and tool state [2] of this instant."""
    actions = np.full((len(COLOURS), 7), np.nan, np.float32)
    points = np.full((OBJECTS, 2), np.nan, np.float32)
    for number, colour in enumerate(COLOURS):
        if colour in env.present:
            actions[number] = expert_action(env, colour)
            points[number] = env.project(env.cube_position(colour))
    points[-1] = env.project(env.pose.position)
    points[((points < 0) | (points >= 1)).any(axis=1)] = np.nan
    return actions, points, np.array([env.pose.position[2], env.opening], np.float32)


class Episode:
    """One running episode: its environment, commander, command latency and the disturbances it suffers."""

    def __init__(self, noise: float) -> None:
        self.env = Environment(jitter=True)
        self.noise = noise

    def start(self, seed: int) -> None:
        """Reset everything by `seed`."""
        self.rng = np.random.default_rng([seed, 77])
        self.task = TASKS[list(TASKS)[seed % len(TASKS)]]
        self.env.reset(self.task.name, seed)
        self.commander = Commander(Limits(), FRAME)
        self.commander.anchor(self.env.pose, 1.0)
        self.latency = int(self.rng.integers(1, SUBSTEPS))  # sub-steps from image to motion
        self.bias = self.rng.normal(0, 0.15 * self.noise, 3)
        self.burst, self.push = 0, np.zeros(7)
        self.ticks, self.after = 0, 0

    @property
    def done(self) -> bool:
        """Long enough, or some ticks past success."""
        return self.ticks >= EPISODE_TICKS or self.after > AFTER_SUCCESS

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
        """Let one control period pass; the action arrives `latency` sub-steps late."""
        stamp = self.env.time
        for step in range(SUBSTEPS):
            if step == self.latency:
                self.commander.offer(ActionChunk(stamp, PERIOD, action[None], FRAME), self.env.time)
            command = self.commander.command(self.env.time, self.env.pose)
            self.env.set_target(command.pose, command.opening)
            self.env.advance(CONTROL_STEP)
        self.ticks += 1
        self.after += self.env.success


def record(seed: int, count: int, size: int, scale: float, noise: float, act: Act | None = None) -> Demonstrations:
    """Record `count` images from parallel episodes driven by `act`, or by the expert where there is none."""
    episodes = [Episode(noise) for _ in range(8 if act else 1)]
    next_seed = seed
    for episode in episodes:
        episode.start(next_seed)
        next_seed += 1
    rows: list[tuple[NDArray, ...]] = []
    while len(rows) < count:
        images = np.stack([shrink(episode.env.render(), size) for episode in episodes])
        told = [labels(episode.env) for episode in episodes]
        rows += [(image, *label) for image, label in zip(images, told, strict=True)]
        if act:
            actions = act(images, [episode.task.instruction for episode in episodes])
        else:
            actions = np.stack([expert_action(episode.env) for episode in episodes])
        for episode, action in zip(episodes, actions, strict=True):
            episode.advance(episode.disturb(action, scale))
            if episode.done:
                episode.start(next_seed)
                next_seed += 1
    for episode in episodes:
        episode.env.close()
    return Demonstrations(*(np.stack(column) for column in zip(*rows[:count], strict=True)))


def _record_part(seed: int, count: int, size: int, scale: float, noise: float, weights: str | None) -> Demonstrations:
    """Worker: the policy, if any, is loaded from its exported weights."""
    import torch

    torch.set_num_threads(1)
    act = None
    if weights:
        from .network import SmallPolicy

        act = SmallPolicy.restore(Path(weights)).act
    return record(seed, count, size, scale, noise, act)


def collect(
    seed: int,
    count: int,
    size: int,
    scale: float,
    noise: float,
    weights: Path | None = None,
    processes: int = 2,
    part: int = 500,
    progress: Callable[[int], None] = lambda images: None,
) -> Demonstrations:
    """Record `count` images in parts spread over processes; the seed alone decides the result, not `processes`."""
    sizes = [min(part, count - start) for start in range(0, count, part)]
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    with pool:
        jobs = [
            pool.submit(_record_part, seed + 10_000 * i, n, size, scale, noise, str(weights) if weights else None)
            for i, n in enumerate(sizes)
        ]
        parts = []
        for job in jobs:
            parts.append(job.result())
            progress(len(parts[-1]))
    return Demonstrations.join(parts)
