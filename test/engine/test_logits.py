"""Logits in float32, whatever the head's weights are in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vla_entropy_ros.engine.model.logits import CHUNK, wide_logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_logits_are_the_products_of_the_numbers_as_they_are(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    head = nn.Linear(64, 2 * CHUNK + 5, bias=False).to(dtype)
    states = (10 * torch.randn(9, 64)).to(dtype)
    exact = states.double() @ head.weight.double().T
    logits = wide_logits(head, states)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.double(), exact, rtol=0, atol=1e-5)
    if dtype == torch.bfloat16:
        assert (head(states).double() - exact).abs().max() > 1e-2
