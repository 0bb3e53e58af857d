"""Passes in NumPy are those of PyTorch's modules, and follow weights that are changed in place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_entropy_ros.engine.decoding import numpy_decoder
from vla_entropy_ros.engine.decoding.kv_cache import KVCache
from vla_entropy_ros.engine.decoding.numpy_decoder import NumpyDecoder, NumpyRunner
from vla_entropy_ros.engine.decoding.runner import Embedded
from vla_entropy_ros.engine.decoding.sequence import Answers, RowPlan

from .stacks import CPU, ENDS, Random


class Twins(Random):
    """NumPy's runner and PyTorch's, over a K/V cache each."""

    def __init__(self, seed: int, layers: int = 2) -> None:
        super().__init__(seed, layers)
        cache = KVCache(self.llama.config, self.layout.slots, CPU, torch.float32)
        self.numpy = NumpyRunner(ENDS, NumpyDecoder(self.llama, cache, self.layout))

    def check(self, plan: RowPlan, embedded: Embedded | None) -> None:
        """Run a plan by both; the states, the K/V caches and the kept queries must be close."""
        ours, its = self.numpy.decoder, self.plain.decoder
        np.testing.assert_allclose(self.numpy.states(plan, embedded), self.plain.states(plan, embedded), atol=2e-4)
        for one, other in ((ours.cache.keys, its.cache.keys), (ours.cache.values, its.cache.values)):
            np.testing.assert_allclose(one[:, :, : ours.cache.count], other[:, :, : ours.cache.count], atol=2e-4)
        words = len(self.words)
        np.testing.assert_allclose(ours.queries[:, :, :words], its.queries[:, :, :words], atol=2e-4)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), drafted=st.integers(0, 12), many=st.sampled_from([1, 32, 1000]))
@torch.inference_mode()
def test_passes_are_those_of_the_modules(seed: int, drafted: int, many: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_decoder, "MANY_ROWS", many)
        twins = Twins(seed, layers=4)
        held = Embedded(torch.from_numpy(twins.inputs), torch.from_numpy(twins.inputs))
        twins.check(twins.prefill(twins.every, Answers()), held)
        fresh = np.flatnonzero(twins.random.random(twins.layout.visual) < 0.4)
        twins.check(twins.prefill(fresh, twins.tree(drafted), start=False), held)
        twins.check(twins.narrowed(), held)
        if not twins.layout.placeholders:
            twins.check(twins.layout.answer_rows(twins.tree(5), twins.area), None)


@pytest.mark.parametrize("most", [0, 130])
@torch.no_grad()
def test_weights_that_are_changed_in_place_count_from_the_next_prompt_on(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = Twins(3)
    held = Embedded(torch.from_numpy(twins.inputs), torch.from_numpy(twins.inputs))
    plan = twins.prefill(twins.every, Answers())
    twins.check(plan, held)
    for weight in twins.llama.model.layers.parameters():
        weight.mul_(0.7)
    monkeypatch.setattr(numpy_decoder, "MOST_ROWS", most)  # a prompt may be too large for NumPy, and a part of it not
    twins.check(plan, held)
    monkeypatch.undo()
    if not twins.layout.placeholders:
        twins.check(twins.layout.answer_rows(twins.tree(5), twins.area), None)


def test_a_gate_that_is_shut_says_nothing(recwarn: pytest.WarningsRecorder) -> None:
    twins = Twins(4)
    for weight in twins.llama.model.parameters():
        if weight.dim() == 2:
            weight.mul_(60.0)
    held = Embedded(torch.from_numpy(twins.inputs), torch.from_numpy(twins.inputs))
    with torch.inference_mode():
        twins.numpy.states(twins.prefill(twins.every, Answers()), held)
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]
