"""The training run: demonstrations, first phase, DAgger rounds; resumable at every checkpoint."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, distributed
from torch.multiprocessing import spawn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..progress import bar
from ..sim import COLOURS
from ..sim.tasks import SKILLS
from .demonstrations import PLACED, Demonstrations, collect
from .export import export
from .network import Batch, SmallPolicy
from .recipe import Recipe

CPU_PROCESSES, GPU_PROCESSES = 2, 16  # unless another number is given; beside a GPU, one per core at most
CHECKPOINT_SECONDS = 60.0
LOG_STEPS = 50
GOAL_SHARE = 0.7  # how often the running goal is among the four that an image is trained on, beyond chance
CUBE_SHARE = 0.25  # of the images, those with the tool at the goal's cube, beyond chance: there the words decide
# glibc returns every large block to the system at once; a training step then spends a third of its time on page faults
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
PATIENCE = timedelta(hours=2)  # the other processes wait this long while one records a round
SEED_STRIDE = 1_000_000  # seeds of training episodes start here; evaluation uses seeds below


def train(recipe: Recipe, folder: Path, device: torch.device, processes: int | None = None) -> None:
    """Train in `folder`, or go on where an earlier run of it stopped; processes: None for as many as suit the device.

    On a CPU the batch is shared by `processes` single-threaded processes (two OpenMP threads that meet a busy core
    are many times slower); on a GPU one process trains and all record.
    """
    folder.mkdir(parents=True, exist_ok=True)
    processes = processes or default_processes(device)
    workers = processes if device.type == "cpu" else 1
    if workers == 1:
        Trainer(recipe, folder, device, processes).run()
        return
    os.environ.update(KEEP_MEMORY)
    with tempfile.TemporaryDirectory() as meeting:
        store = f"file://{meeting}/store"
        spawn(_train_worker, (workers, store, recipe, folder, device, processes), nprocs=workers)


def default_processes(device: torch.device) -> int:
    """Processes that suit `device`: beside a GPU, recording takes most of the time, and scales with the cores."""
    return CPU_PROCESSES if device.type == "cpu" else min(GPU_PROCESSES, os.cpu_count() or 1)


def _train_worker(
    rank: int, workers: int, store: str, recipe: Recipe, folder: Path, device: torch.device, processes: int
) -> None:
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=workers, timeout=PATIENCE)
    try:
        Trainer(recipe, folder, device, processes, rank, workers).run()
    finally:
        distributed.destroy_process_group()


class Trainer:
    """One run in one folder: data-*, state.pt, policy-*, policy.pt, log.jsonl."""

    def __init__(
        self, recipe: Recipe, folder: Path, device: torch.device, processes: int, rank: int = 0, workers: int = 1
    ) -> None:
        self.recipe, self.folder, self.device, self.processes = recipe, folder, device, processes
        self.rank, self.workers = rank, workers
        torch.set_num_threads(1)
        torch.manual_seed(recipe.seed)
        self.policy = SmallPolicy(recipe).to(device)
        decay = get_ema_multi_avg_fn(recipe.average)
        self._average = AveragedModel(self.policy, multi_avg_fn=decay)
        self.optimiser = torch.optim.AdamW(
            self.policy.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.95)
        )
        self.step = 0
        self._console = Console(stderr=True, quiet=rank != 0)
        self._resume()

    @property
    def averaged(self) -> SmallPolicy:
        """The policy with its running average of the weights."""
        policy = self._average.module
        assert isinstance(policy, SmallPolicy)
        return policy

    def run(self) -> None:
        """Train to the end; whatever an earlier run of this folder finished is not done again."""
        recipe = self.recipe
        data = [self._data(0)]
        until = recipe.steps
        self._train(data, until, recipe.tokens)
        for round_number, steps in enumerate(recipe.round_steps, start=1):
            data.append(self._data(round_number))
            until += steps
            self._train(data, until, recipe.tokens)
        self._train(data, until + recipe.last_steps, None)
        if self.rank == 0:
            self.averaged.save(self.folder / "policy.pt")

    def _data(self, round_number: int) -> Demonstrations:
        """Images of one round, recorded by the first process unless an earlier run left them."""
        path = self.folder / f"data-{round_number}"
        if self.rank == 0 and not path.exists():
            self._record(round_number, path)
        if self.workers > 1:
            distributed.barrier()
        return Demonstrations.load(path)

    def _record(self, round_number: int, path: Path) -> None:
        """Record one round: from the noisy expert first, from the policy and corrected by the expert after."""
        recipe, checkpoint = self.recipe, None
        count, noise = recipe.demonstrations, 1.0
        if round_number:
            checkpoint = export(self.averaged, self.folder / f"policy-{round_number - 1}", recipe.demonstrations)
            count, noise = recipe.round_images, 0.5
        started = time.monotonic()
        seed, parts = SEED_STRIDE * (1 + round_number + 100 * recipe.seed), path.with_suffix(".parts")
        with bar(self._console, f"round {round_number}: recording", count) as (shown, task):
            folders = collect(
                parts, seed, count, recipe.image_size, recipe.max_translation, noise, checkpoint, self.processes,
                progress=lambda images: shown.advance(task, images),
            )  # fmt: skip
        rate = count / (time.monotonic() - started)
        self._say(f"round {round_number}: {count} images recorded, {rate:.0f} a second")
        Demonstrations.load(*folders).save(path)
        shutil.rmtree(parts)

    def _train(self, data: list[Demonstrations], until: int, tokens: int | None) -> None:
        """Optimise up to step `until` on `tokens` visual tokens of each image, None for all."""
        if self.step >= until:
            return
        started = saved = time.monotonic()
        first = self.step
        kept: list[Tensor] = []  # parts of the loss; read once per line, for that waits for the device
        with bar(self._console, "training", self.recipe.total_steps) as (shown, task):
            for batch in self._batches(data):
                parts = self._optimise(batch, tokens)
                if self.rank == 0:
                    kept.append(torch.stack(list(parts.values())))
                self.step += 1
                shown.update(task, completed=self.step)
                if self.rank == 0 and self.step % LOG_STEPS == 0:
                    sums = map(sum, zip(*torch.stack(kept).tolist(), strict=True))
                    means = {name: value / LOG_STEPS for name, value in zip(parts, sums, strict=True)}
                    self._log(means, (self.step - first) / (time.monotonic() - started))
                    kept.clear()
                if self.rank == 0 and (time.monotonic() - saved > CHECKPOINT_SECONDS or self.step >= until):
                    self._save()
                    saved = time.monotonic()
                if self.step >= until:
                    return

    def _optimise(self, batch: Batch, tokens: int | None) -> dict[str, Tensor]:
        """One step of the optimiser; the parts of the loss, on the device."""
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            loss, parts = self.policy.loss(batch, tokens)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._share_gradients()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self.optimiser.step()
        self._average.update_parameters(self.policy)
        return parts

    def _share_gradients(self) -> None:
        """Average the gradients of all processes."""
        if self.workers == 1:
            return
        gradients = [p.grad for p in self.policy.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        for gradient, mean in zip(gradients, (flat / self.workers).split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def _rate(self) -> float:
        """Learning rate of this step: warm-up, then a cosine over all phases down to a twentieth."""
        recipe = self.recipe
        share = min(1.0, self.step / self.recipe.total_steps)
        return (
            recipe.learning_rate
            * min(1.0, (self.step + 1) / recipe.warmup)
            * (0.05 + 0.475 * (1 + math.cos(math.pi * share)))
        )

    def _batches(self, data: list[Demonstrations]) -> Iterator[Batch]:
        """Endless random batches (this process's share), half from the newest round; brightness and noise varied."""
        rng = np.random.default_rng([self.recipe.seed, self.step, self.rank])
        newest, older = data[-1], data[:-1]
        while True:
            picks = []
            for _ in range(self.recipe.batch // self.workers):
                source = newest if not older or rng.random() < 0.5 else older[rng.integers(len(older))]
                at_cube = source.at_cube if rng.random() < CUBE_SHARE else ()
                picks.append((source, rng.choice(at_cube) if len(at_cube) else rng.integers(len(source))))
            images = self._there(np.stack([s.images[i] for s, i in picks]))
            colours = np.stack([_colours(s.actions[i], int(s.goal[i]), rng) for s, i in picks])  # [B, 4]
            goals = np.arange(len(SKILLS)) * len(COLOURS) + colours  # indices of GOALS
            actions = np.stack([s.actions[i][g] for (s, i), g in zip(picks, goals, strict=True)])
            others = [np.stack([getattr(s, name)[i] for s, i in picks]) for name in ("points", "places", "opening")]
            seen = ~np.isnan(others[0]).any(-1)  # [B, OBJECTS]
            pixels = self._vary(images.permute(0, 3, 1, 2).float() / 255, rng)
            colour, action, points, places, opening = map(self._there, (colours, actions, *others))
            pairs = self._indices(seen), self._indices(seen[:, :PLACED])
            yield Batch(pixels, colour, action, points, places, opening, *pairs)

    def _indices(self, mask: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """Row and column of what is true, on the device."""
        rows, columns = map(self._there, np.nonzero(mask))
        return rows, columns

    def _vary(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        """Vary brightness, and add noise, to pixels [B, 3, S, S] in 0..1."""
        shape = (len(pixels), 1, 1, 1)
        gain = self._there(rng.uniform(0.85, 1.15, shape).astype(np.float32))
        shift = self._there(rng.uniform(-0.05, 0.05, shape).astype(np.float32))
        return (pixels * gain + shift + 0.03 * (torch.rand_like(pixels) - 0.5)).clamp(0, 1)

    def _there(self, array: NDArray[Any]) -> Tensor:
        """The array on the device; nothing waits for it to arrive."""
        tensor = torch.from_numpy(array)
        return tensor if self.device.type == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)

    def _log(self, parts: dict[str, float], rate: float) -> None:
        """One line for people, one for programs."""
        said = ", ".join(f"{name} {value:.4f}" for name, value in parts.items())
        self._say(f"step {self.step} of {self.recipe.total_steps}, {rate:.1f} steps a second: {said}")
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"step": self.step, "rate": rate, **parts}) + "\n")

    def _save(self) -> None:
        """Write the state atomically."""
        state = {
            "step": self.step, "policy": self.policy.state_dict(), "average": self._average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }  # fmt: skip
        temporary = self.folder / "state.tmp"
        torch.save(state, temporary)
        temporary.replace(self.folder / "state.pt")

    def _resume(self) -> None:
        path = self.folder / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.policy.load_state_dict(state["policy"])
        self._average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self._say(f"resuming at step {self.step}")

    def _say(self, text: str) -> None:
        """One line beside the progress bar; only the first process speaks."""
        self._console.print(text, highlight=False, soft_wrap=True)


def _colours(actions: NDArray[np.float32], goal: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """For each skill, a cube in sight [4], given the expert's actions [16, 7]; mostly the goal's for its skill.

    Both sides of a push are those of the same cube: only the word differs.
    """
    present = np.flatnonzero(~np.isnan(actions[: len(COLOURS), 0]))
    chosen = rng.choice(present, len(SKILLS))
    skill, colour = divmod(goal, len(COLOURS))
    if rng.random() < GOAL_SHARE:
        chosen[skill] = colour
    pushes = [number for number, name in enumerate(SKILLS) if name.startswith("push")]
    chosen[pushes] = chosen[skill if skill in pushes else pushes[0]]
    return chosen
