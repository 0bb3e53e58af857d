"""How many operations launch something in a pass of OpenVLA-7B's depth: each costs a microsecond or more on a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("triton", reason="needs Triton: make kernels")

from vla_entropy_ros.bench.gpu.launches import stages
from vla_entropy_ros.bench.gpu.shapes import TINY, moving, random_model
from vla_entropy_ros.engine import Policy
from vla_entropy_ros.engine.decoding import cuda_graphs
from vla_entropy_ros.engine.decoding.fused import FusedDecoder
from vla_entropy_ros.engine.device import Placement
from vla_entropy_ros.engine.families import openvla_model
from vla_entropy_ros.engine.model import products

DEEP = replace(TINY, llama=replace(TINY.llama, num_hidden_layers=32))  # how wide it is does not matter
MOST = {"prefill": 300, "pass": 280}
UNFUSED = {"prefill": 604, "pass": 572}  # before there were fused kernels


class Counted:
    """Stands for a kernel: counts its launches."""

    def __init__(self, name: str, launches: Counter[str]) -> None:
        self._name, self._launches = name, launches

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *_, **__: self._launches.update([self._name])


@pytest.mark.parametrize("many", [False, True])
def test_a_pass_launches_few_kernels(many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "fused_step", FusedDecoder)
    # on CUDA one product gives logits in float32; elsewhere the states are widened, and the head in parts
    monkeypatch.setattr(openvla_model, "wide_logits", lambda head, states: F.linear(states, head.weight))
    model, _ = random_model(DEEP, Placement(torch.device("cpu"), torch.float16))
    if many:  # rows of a tiny policy's prefill are taken for as many as OpenVLA's
        monkeypatch.setattr(products, "SOME", 0)
    launches: Counter[str] = Counter()
    policy = Policy(model, graphs=True, kernels=False)
    plain = stages(policy, next(iter(moving(1))))
    for name in [name for name in vars(products) if name.endswith("_kernel")]:
        monkeypatch.setattr(products, name, Counted(name, launches))
    monkeypatch.setattr(Policy, "_calibrate", lambda _: None)  # nothing is computed
    policy = Policy(model, graphs=True, kernels=True)
    assert policy.runner.kind == "fixed shapes, fused kernels"
    per_pass = _launched(policy, launches)
    for stage, most in MOST.items():
        if many and stage == "pass":
            continue  # never that many
        assert per_pass[stage] <= most, (stage, per_pass)
        assert plain[stage] > 0.8 * UNFUSED[stage]  # what it is compared with is still the same


def _launched(policy: Policy, launches: Counter[str]) -> dict[str, Any]:
    """Operations of torch and kernels of ours by stage."""
    from vla_entropy_ros.bench.gpu import launches as module

    def count(work: Callable[[], object]) -> int:
        launches.clear()
        with module.Launches() as operations:
            work()
        return sum(operations.counts.values()) + sum(launches.values())

    kept, module._operations = module._operations, count
    try:
        return stages(policy, next(iter(moving(1))))
    finally:
        module._operations = kept
