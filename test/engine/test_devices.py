"""Work on a GPU that is not the first one, and on one that fails; a stand-in notes which device each thing is of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vla_entropy_ros.engine import ActionError, DeviceLostError, Observation, Policy
from vla_entropy_ros.engine import policy as policies
from vla_entropy_ros.engine.decoding import runner as runners
from vla_entropy_ros.engine.decoding.decoder import Decoder
from vla_entropy_ros.engine.decoding.sequence import Answers
from vla_entropy_ros.engine.device import Placement, guarded
from vla_entropy_ros.engine.families import Model

from .pretended import CUDA, GPU, OnGPU

SEEN = Observation((np.zeros((56, 56, 3), np.uint8),), "pick up the red cube", 0.0)
ILLEGAL = "CUDA error: an illegal memory access was encountered"
SAID = f"failed: {ILLEGAL}; only a new process helps: restart this one"


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[CUDA]:
    """A stand-in for torch.cuda, and tensors that say they lie on the second GPU."""
    one = CUDA()
    one.install(monkeypatch)
    with OnGPU():
        yield one


@pytest.fixture
def policy(load_small: Callable[[], Policy]) -> Policy:
    """A policy on the CPU that has run a tick."""
    one = load_small()
    one.infer(SEEN)
    return one


@pytest.fixture(scope="module")
def there(tiny_spec: dict[str, Any], tiny_folder: Path) -> Model:
    """A model of two towers that is said to lie on the second GPU."""
    model = Policy.load(tiny_folder, encoder=lambda prompt: [*tiny_spec["input_ids"], 29871]).model
    return replace(model, where=Placement(GPU, torch.float32))


def illegal(*_: Any) -> None:
    """What every call raises after an illegal access."""
    raise RuntimeError(f"{ILLEGAL}\nSearch for `cudaErrorIllegalAddress' in ...\nCUDA kernel errors might be ...")


def test_streams_events_and_graphs_are_of_the_policys_device(cuda: CUDA, there: Model) -> None:
    one = {1}
    policy = Policy(there, graphs=True, kernels=False)
    assert policy.runner.kind == "graphs"
    kinds = ("pool", "stream", "graph", "capture", "replay")
    assert cuda.taken() == dict.fromkeys(kinds, one)
    seen = replace(SEEN, images=(np.zeros((224, 224, 3), np.uint8),))
    work: dict[str, Callable[[], object]] = {
        "warm_up": policy.warm_up,
        "infer": lambda: policy.infer(seen),
        "settle": policy.settle,
        "outputs": lambda: policy.outputs(seen.images[0], (3, 4)),
    }
    uses = {"warm_up": ("event", "replay"), "infer": ("event", "replay"), "settle": ("replay",), "outputs": ("replay",)}
    for name, call in work.items():
        with contextlib.suppress(ActionError):  # what is captured here does not compute
            call()
        taken = cuda.taken()
        assert set(uses[name]) <= set(taken), name
        assert all(devices == one for devices in taken.values()), (name, taken)
    assert cuda.current == 0


def test_a_runner_waits_for_its_own_device_whichever_is_current(cuda: CUDA, there: Model) -> None:
    policy = Policy(there, graphs=True, kernels=False)
    cuda.taken()
    with torch.inference_mode():
        policy.runner.run(there.layout.answer_rows(Answers.following([3]), there.layout.first_text))
    assert cuda.taken()["wait"] == {1}


@pytest.mark.parametrize("on_gpu", [True, False])
def test_eager_passes_on_a_gpu_choose_their_attention_once(
    monkeypatch: pytest.MonkeyPatch, load_small: Callable[[], Policy], on_gpu: bool
) -> None:
    chosen: list[Any] = []
    inside: list[bool] = []
    open_now = 0

    @contextlib.contextmanager
    def choose(backends: Any) -> Iterator[None]:
        nonlocal open_now
        chosen.append(backends)
        open_now += 1
        yield
        open_now -= 1

    run = Decoder.run

    def noting(*args: Any) -> torch.Tensor:
        inside.append(open_now == 1)
        return run(*args)

    monkeypatch.setattr(runners, "sdpa_kernel", choose)
    monkeypatch.setattr(Decoder, "run", noting)
    model = load_small().model
    if not on_gpu:
        plain = Policy(model, backend="torch").infer(SEEN)
        assert chosen == []
        assert inside == [False] * plain.decoder_passes
        return
    cuda = CUDA()
    cuda.install(monkeypatch)
    with OnGPU():
        there = replace(model, where=Placement(GPU, torch.float32))
        made = Policy(there, graphs=False).infer(SEEN)
        assert len(chosen) == made.decoder_passes
        assert inside == [True] * made.decoder_passes
        assert [backend.name for backend in chosen[0]] == ["FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH"]
        chosen.clear()
        inside.clear()
        Policy(there, graphs=True, kernels=False)
        assert inside
        assert not any(inside)  # what is captured keeps torch's choice
    assert chosen == []


def test_an_error_that_clearing_meets_again_is_a_lost_device(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy._runner, "embed_images", illegal)
    monkeypatch.setattr(policy._cache, "clear", illegal)
    for call in (lambda: policy.infer(replace(SEEN, stamp=0.1)), policy.warm_up, policy.self_test):
        with pytest.raises(DeviceLostError) as caught:
            call()
        assert str(caught.value) == f"the device cpu {SAID}"
        assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_error_of_settling_clears_the_cache(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(policy._selector, "commit", illegal)
        with pytest.raises(RuntimeError, match="illegal memory access"):
            policy.settle()
    assert not policy._cache.keys.any()
    result = policy.infer(replace(SEEN, stamp=0.1))
    assert (result.reuse.reused, result.reuse.reason) == (0, "the tick before failed")


def test_a_fault_of_a_device_that_goes_on_is_raised_as_it_is(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(policy._runner, "run", full)
        with pytest.raises(torch.OutOfMemoryError):
            policy.infer(replace(SEEN, stamp=0.1))
    assert policy.infer(replace(SEEN, stamp=0.2)).reuse.reused == 0


@pytest.mark.parametrize("error", [ActionError("no action"), RuntimeError(ILLEGAL)])
def test_a_device_that_fails_while_it_is_waited_for_is_lost(cuda: CUDA, error: Exception) -> None:
    undone: list[int] = []
    cuda.fault = RuntimeError(ILLEGAL)
    with pytest.raises(DeviceLostError) as caught, guarded(GPU, lambda: undone.append(cuda.current)):
        raise error
    assert str(caught.value) == f"the device cuda:1 {SAID}"
    assert undone == [1]
    cuda.fault = None
    with pytest.raises(type(error)), guarded(GPU):
        raise error


def test_a_lost_device_is_told_once(cuda: CUDA) -> None:
    cuda.fault = RuntimeError(ILLEGAL)
    with pytest.raises(DeviceLostError) as caught, guarded(GPU), guarded(GPU):
        illegal()
    assert str(caught.value).count("failed: ") == 1


def test_a_checkpoint_is_not_loaded_onto_a_lost_device(
    cuda: CUDA, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "find_device", lambda name: GPU)
    monkeypatch.setattr(policies, "find_family", illegal)
    cuda.fault = RuntimeError(ILLEGAL)
    with pytest.raises(DeviceLostError, match="only a new process helps"):
        Policy.load(small_folder, device="cuda:1")
