"""What a tick launches: kernels by stage, and a profiler's table of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ...engine import Observation, Policy
from ...engine.decoding.choosing import Question
from ...engine.decoding.sequence import NO_ANSWERS, Answers
from ...engine.observation import state_vector

TOP = 25
NAME = 90  # characters of a kernel's name


class Launches(TorchDispatchMode):
    """Counts operations that write something, by name: on a GPU each would launch a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run and count it, unless its result is another view of what was there, or memory nobody wrote to."""
        made = func(*args, **(kwargs or {}))
        name = str(func)
        there = {_storage(each) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        fresh = any(_storage(each) not in there for each in tree_leaves(made) if isinstance(each, Tensor))
        if func._schema.is_mutable or (fresh and ".empty" not in name and ".new_empty" not in name):
            self.counts[name] += 1
        return made


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@torch.inference_mode()
def stages(policy: Policy, seen: Observation) -> dict[str, int]:
    """Kernels of each stage: on CUDA as the profiler sees them, elsewhere operations that would launch one."""
    model, runner, layout = policy.model, policy.runner, policy.model.layout
    frames, state = model.preprocess.frames(seen.images), state_vector(seen, model.state_names)
    embedded = runner.embed_images(frames, state)
    ids = model.prompt(seen.instruction).ids
    prefill = layout.prefill(np.arange(layout.visual), ids, NO_ANSWERS, True, {})
    step = layout.answer_rows(Answers.following(ids[:1]), layout.first_text + len(ids))
    work: dict[str, Callable[[], object]] = {
        "vision": lambda: runner.embed_images(frames, state),
        "prefill": lambda: runner.run(prefill, embedded),
        "pass": lambda: runner.run(step),
        "probe": runner.text_information,
    }
    return {stage: _counted(policy, each) for stage, each in work.items()}


@torch.inference_mode()
def selection(policy: Policy, seen: Observation) -> int | None:
    """What launches, as in `stages`, where a runner chooses the tokens and puts them into the plan of a pass."""
    model, runner, layout = policy.model, policy.runner, policy.model.layout
    embedded = runner.embed_images(model.preprocess.frames(seen.images), state_vector(seen, model.state_names))
    ask, nothing = embedded.choose, np.zeros(layout.visual)
    if ask is None:
        return None
    question = Question(nothing, nothing, nothing, nothing > 0, most=0, count=layout.visual)
    plan = layout.prefill(np.arange(layout.visual), model.prompt(seen.instruction).ids, NO_ANSWERS, False, {})
    whole = _counted(policy, lambda: (ask(question), runner.run(replace(plan, open=True), embedded)))
    return whole - _counted(policy, lambda: runner.run(plan, embedded))


def _counted(policy: Policy, work: Callable[[], object]) -> int:
    return (_kernels if policy.model.where.device.type == "cuda" else _operations)(work)


def _operations(work: Callable[[], object]) -> int:
    with Launches() as launches:
        work()
    return sum(launches.counts.values())


def _kernels(work: Callable[[], object]) -> int:
    return sum(count for _, count, _ in _profiled(work, cuda=True))


def profile(policy: Policy, scene: list[Observation]) -> str:
    """The kernels that take most time in the last tick of `scene`, a line each; on a CPU the operations."""
    *before, last = scene
    for seen in before:
        policy.infer(seen)
        policy.settle()

    def tick() -> None:
        policy.infer(last)
        policy.settle()

    found = _profiled(tick, cuda=policy.model.where.device.type == "cuda")
    lines = [f"{'total us':>10} {'count':>6} {'mean us':>9}  name"]
    for name, count, total in sorted(found, key=lambda each: -each[2])[:TOP]:
        lines.append(f"{total:10.1f} {count:6d} {total / count:9.2f}  {name[:NAME]}")
    lines.append(f"{sum(total for *_, total in found):10.1f} {sum(count for _, count, _ in found):6d}  in all")
    return "\n".join(lines)


def _profiled(work: Callable[[], object], cuda: bool) -> list[tuple[str, int, float]]:
    """Name, count and total time [us] of everything that ran, on the device or on the host."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=activities) as seen:
        work()
        if cuda:
            torch.cuda.synchronize()
    found = []
    for event in seen.key_averages():
        on_device = event.device_type != torch.autograd.DeviceType.CPU
        if on_device == cuda:
            found.append((event.key, event.count, event.self_device_time_total if cuda else event.self_cpu_time_total))
    return [each for each in found if each[2] > 0]
