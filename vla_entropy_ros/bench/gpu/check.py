"""Does a policy compute what it should? An eager twin runs the same rows over the same images, and both are compared.

Before each replay of a graph its outputs are filled with what is no number, so that one that computes nothing shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...engine import ActionError, Observation, Policy
from ...engine.actions.speculative import Scored, greedy_decode
from ...engine.actions.token_head import TokenHead
from ...engine.decoding.choosing import Answering
from ...engine.decoding.runner import EagerRunner, Embedded, Runner, Table
from ...engine.decoding.sequence import NO_ANSWERS, RowPlan
from ...engine.device import Placement
from ...engine.families import Model
from ...engine.observation import state_vector
from ...engine.tunables import Tunables

LOOKS = ("text_attention", "text_information")  # how a runner looks back at a prompt's text
TICKS = 6  # of a comparison: the first computes everything, the next ones reuse it
# Largest difference of two results, as a share of them. Measured on a CPU over 32 random layers, fixed shapes against
# eager: 1.3 to 1.9 % in bfloat16, as much as against float32, so it is rounding; 7e-7 in float32.
# Kernels and modules round at other places: 1.3 to 5.7 % apart on an H200. In fp8 a value that is rounded
# the other way is 6 to 12 % off, and 32 random layers make 15 % of it: there the kernels' own tests are sharper.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 8e-2, torch.float16: 1e-2}
IN_FP8 = 0.3


class BenchmarkError(ValueError):
    """What was measured is not what its name says; one line."""


class States:
    """The states [R, D] that a policy's head read last, kept where a graph writes them; wraps `model.head.readout`.

    One small copy in each pass, captured with it; give it the model before its policy is made.
    """

    def __init__(self, model: Model) -> None:
        width = model.network.language_model.config.hidden_size
        self.kept = torch.zeros(model.head.rows, width, device=model.where.device, dtype=model.where.dtype)
        readout = model.head.readout

        def keep(states: Tensor) -> Tensor:
            self.kept[len(self.kept) - len(states) :].copy_(states)
            return readout(states)

        model.head.readout = keep  # type: ignore[method-assign]


@dataclass(frozen=True)
class Pass:
    """One decoder pass: its rows, whether they came with an image, states [out, D] of its last rows, their table."""

    plan: RowPlan
    seen: bool
    states: Tensor
    table: Table


@dataclass
class Record:
    """What a policy's runner did since it was last emptied."""

    visual: Tensor | None = None
    answer: Answering | None = None  # of the last tokens that were chosen on the device
    passes: list[Pass] = field(default_factory=list)


@contextmanager
def recorded(policy: Policy, states: States) -> Iterator[Record]:
    """Record what the policy's runner does, each output spoilt before it is made."""
    runner, record = policy.runner, Record()
    embed, run = runner.embed_images, runner.run
    buffers: dict[str, Tensor] = {}

    def spoil(*names: str) -> None:
        for name in names:
            if name in buffers:
                buffers[name].fill_(math.nan)

    def embed_images(frames: NDArray[np.uint8], state: NDArray[np.float64]) -> Embedded:
        spoil("inputs", "drift")
        made = embed(frames, state)
        buffers["inputs"] = made.inputs
        if made.drift is not None:
            buffers["drift"] = made.drift
        record.visual = made.visual.clone()
        ask = made.choose
        return made if ask is None else replace(made, choose=lambda question: noted(ask(question)))

    def noted(answer: Answering) -> Answering:
        record.answer = answer
        return answer

    def run_rows(plan: RowPlan, embedded: Embedded | None = None) -> Table:
        states.kept.fill_(math.nan)
        table = run(plan, embedded)
        if plan.open:
            assert record.answer is not None
            plan = plan.filled(np.flatnonzero(record.answer().fresh))
        out = min(plan.out, len(states.kept))
        record.passes.append(Pass(plan, embedded is not None, states.kept[-out:].clone(), table))
        return table

    def spoilt(name: str, look: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def look_back() -> Tensor:
            spoil(name)
            buffers[name] = look()
            return buffers[name]

        return look_back

    kinds: dict[str, Callable[..., Any]] = {"embed_images": embed_images, "run": run_rows}
    kinds |= {name: spoilt(name, getattr(runner, name)) for name in LOOKS}
    for name, function in kinds.items():
        setattr(runner, name, function)
    try:
        yield record
    finally:
        for name in kinds:
            delattr(runner, name)


class Twin:
    """An eager policy that runs the rows that another one ran, whichever device and weights each of them has."""

    def __init__(self, model: Model) -> None:
        runner = Policy(model, graphs=False).runner
        assert isinstance(runner, EagerRunner)
        self.model, self._runner = model, runner

    def embed(self, observation: Observation) -> Embedded:
        """The observation as rows."""
        frames = self.model.preprocess.frames(observation.images)
        return self._runner.embed_images(frames, state_vector(observation, self.model.state_names))

    def tokens(self, embedded: Embedded, instruction: str, fresh: NDArray[np.int64], start: bool) -> tuple[int, ...]:
        """Plain decoding with those visual tokens fresh: one token a pass; start: whether BOS is computed, too."""
        layout, ids, runner = self.model.layout, self.model.prompt(instruction).ids, self._runner
        first = layout.first_text + len(ids)
        now = Scored.of(runner.run(layout.prefill(fresh, ids, NO_ANSWERS, start, {}), embedded))
        decoded = greedy_decode(lambda rows: runner.run(layout.answer_rows(rows, first)), now, self.model.tokens)
        return tuple(decoded.tokens.tolist())

    def states(self, made: Pass, embedded: Embedded) -> Tensor:
        """States of the same rows as those that a pass kept."""
        return self._runner.states(made.plan, embedded if made.seen else None)[-len(made.states) :]

    def look(self, name: str) -> Tensor:
        """What the last text looked at: one of LOOKS."""
        return looked(self._runner, name)


def looked(runner: Runner, name: str) -> Tensor:
    """What the last text looked at: one of LOOKS."""
    look: Callable[[], Tensor] = getattr(runner, name)
    return look()


@dataclass(frozen=True)
class Agreement:
    """How far a policy and its twin agree over some ticks.

    equal_tokens: share of the tokens that are those of the twin's plain decoding with the same visual tokens fresh;
    the errors are the norm of the difference over the norm, of all passes or ticks together; near_ties: share of the
    rows whose best two logits are closer than the head's margin.
    """

    ticks: int
    equal_tokens: float
    logit_error: float
    vision_error: float
    attention_error: float
    near_ties: float

    def figures(self) -> dict[str, float]:
        """For gpu.json."""
        return {name: float(f"{value:.4g}") for name, value in vars(self).items() if name != "ticks"}


class Error:
    """Norm of differences over the norm of what they should be, added up over pairs of tensors on any devices."""

    def __init__(self) -> None:
        self._off = self._whole = 0.0

    def add(self, one: Tensor, other: Tensor) -> None:
        """Count a pair; other: what it should be."""
        one, other = one.detach().float().cpu(), other.detach().float().cpu()
        self._off += float((one - other).square().sum())
        self._whole += float(other.square().sum())

    @property
    def value(self) -> float:
        """No number where one of the values is none."""
        return math.sqrt(self._off / self._whole)


@torch.inference_mode()
def compare(policy: Policy, states: States, twin: Twin, scene: Sequence[Observation], tunables: Tunables) -> Agreement:
    """Run `scene` with drafts that count where they are right, and compare; BenchmarkError where a tick fails."""
    head, its_head = policy.model.head, twin.model.head
    assert isinstance(head, TokenHead)
    head.match = None
    policy.set_tunables(tunables)
    policy.reset()
    logits, vision, attention = Error(), Error(), Error()
    right: list[bool] = []
    close: list[bool] = []
    with recorded(policy, states) as record:
        for seen in scene:
            record.passes.clear()
            try:
                result = policy.infer(seen)
                policy.settle()
            except ActionError as error:
                raise BenchmarkError(f"a tick has no action: {error}") from error
            assert record.visual is not None
            embedded, start = twin.embed(seen), int(record.passes[0].plan.position[0]) == 0
            vision.add(record.visual, embedded.visual)
            plain = twin.tokens(embedded, seen.instruction, np.flatnonzero(result.reuse.fresh_mask), start)
            right += [mine == its for mine, its in zip(result.tokens.tolist(), plain, strict=True)]
            for made in record.passes:
                logits.add(head.outputs(made.states), its_head.outputs(twin.states(made, embedded)))
                close += [float(row[1]) < head.margin for row in made.table]
            for name in LOOKS:
                attention.add(looked(policy.runner, name), twin.look(name))
    for name, off in {"tokens": logits, "visual tokens": vision, "attention": attention}.items():
        if not math.isfinite(off.value):
            raise BenchmarkError(f"nothing is computed: the {name} hold what is no number")
    shares = [float(np.mean(each)) for each in (right, close)]
    return Agreement(len(scene), shares[0], logits.value, vision.value, attention.value, near_ties=shares[1])


def tolerance(where: Placement) -> float:
    """Largest error that is rounding, for weights and activations of these types."""
    return IN_FP8 if where.quantisation == "fp8" else TOLERANCE[where.dtype]


def wrong(found: Mapping[str, float | None], where: Placement) -> str | None:
    """Which of an agreement's figures is beyond rounding, None where none is."""
    most = tolerance(where)
    for name in ("vision_error", "logit_error", "attention_error"):
        error = found.get(name)
        if error is not None and error > most:
            return f"{name} {error:.3g}, at most {most:g} is rounding"
    return None
