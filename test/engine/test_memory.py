"""Memory of a device: loading never holds more than weights and one tensor, and what is needed is said before."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vla_entropy_ros.bench.gpu import shapes as random_shapes
from vla_entropy_ros.bench.gpu.shapes import find_shape, random_policy
from vla_entropy_ros.engine import DeviceError, Observation, Policy, device
from vla_entropy_ros.engine.actions.drafts import DRAFTED
from vla_entropy_ros.engine.decoding.cuda_graphs import CUDAGraphRunner
from vla_entropy_ros.engine.decoding.sequence import Layout
from vla_entropy_ros.engine.device import Placement, check_memory
from vla_entropy_ros.engine.model import checkpoint, quantise
from vla_entropy_ros.engine.model.checkpoint import check_fits, fill, place
from vla_entropy_ros.engine.model.network import Network
from vla_entropy_ros.engine.model.shapes import (
    WORKSPACES,
    LlamaConfig,
    TowerConfig,
    memory_needed,
    tensor_shapes,
)
from vla_entropy_ros.engine.model.stored import StoredTensors

LLAMA = LlamaConfig(128, 352, 3, 4, 2, vocab_size=300)
TOWERS = (TowerConfig(56, 32, 1, 2, 64),)
LAYOUT = Layout((1,), 256, 128, 7)  # OpenVLA's
CUDA = torch.device("cuda")


class Live(TorchDispatchMode):
    """Counts the bytes of the storages that were made under it and live: those now, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    @property
    def now(self) -> int:
        """Bytes that live."""
        self._made = {key: made for key, made in self._made.items() if not made[0].expired()}
        return sum(size for _, size in self._made.values())

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {storage._cdata for storage in storages((args, kwargs))}
        out = function(*args, **(kwargs or {}))
        for storage in storages(out):
            if storage._cdata not in given and function is not torch.ops.aten.set_.source_Storage:  # pages of a file
                self._made[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
                self.most = max(self.most, self.now)
        return out


def storages(tree: Any) -> Iterator[torch.UntypedStorage]:
    return (leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))


@pytest.mark.parametrize("quantisation", ["none", "int8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loading_holds_the_weights_and_one_tensor(
    dtype: torch.dtype, quantisation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantise, "BLOCK", 2**10)
    network, shapes = Network.shaped(TOWERS, LLAMA), tensor_shapes(TOWERS, LLAMA)
    save_file({name: torch.randn(shape) for name, shape in shapes.items()}, tmp_path / "model.safetensors")
    live, where = Live(), Placement(torch.device("cpu"), dtype, quantisation)
    before = 0

    def look(done: int, total: int) -> None:
        """What was held since the tensor before this one was in place."""
        nonlocal before
        assert live.most <= held(network) + (done - before) + 3 * 4 * 2**10
        before, live.most = done, 0

    with live:
        fill(network, LLAMA, LAYOUT, StoredTensors(tmp_path), set(), where, look)
    assert before == sum(map(math.prod, shapes.values())) * dtype.itemsize
    assert live.now == held(network)
    network.fuse()
    assert live.now == held(network)
    assert (held(network) < 0.7 * before) == (quantisation == "int8")


def held(network: Network) -> int:
    """Bytes of all weights that are in place, and of their scales."""
    scales = [module.scale for module in network.modules() if isinstance(module, quantise.Linear)]
    there = [weight for weight in network.parameters() if not weight.is_meta]
    return sum({storage._cdata: storage.nbytes() for storage in storages([there, scales])}.values())


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("quantisation", "most"), [("none", 15.5e9), ("int8", 9.05e9)])
def test_the_memory_needed_is_what_openvlas_shape_holds(
    quantisation: str, most: float, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DRAFTED, "meta", DRAFTED[device])
    kept, passing, shape, eight = Live(), Live(), find_shape("7b"), quantisation == "int8"
    shapes = tensor_shapes(shape.towers, shape.llama)

    def network_on_meta(_shape: object, _config: object, where: Placement, _made_on: object) -> Network:
        network = Network.shaped(shape.towers, shape.llama)
        with kept:
            for name, size in shapes.items():
                place(network, name, torch.empty(size, device=where.device, dtype=where.dtype), where.quantisation)
        return network.eval().fuse()

    monkeypatch.setattr(random_shapes, "_network", network_on_meta)
    monkeypatch.setattr(quantise, "quantise", lambda *_: None)  # there are no values
    monkeypatch.setattr(Policy, "_calibrate", lambda _: None)
    where = Placement(torch.device("meta"), torch.bfloat16, quantisation)
    with kept:
        policy, _ = random_policy(shape, where, graphs=True)
    runner, layout = policy._runner, policy.model.layout
    assert isinstance(runner, CUDAGraphRunner)
    with passing, torch.inference_mode():
        alone = ({0: graph} for graph in (runner._embed, runner._rank, runner._fill))
        for graphs in (runner._prefills, runner._extensions, *runner._probes, *alone):
            graphs[max(graphs)]()
    assert passing.now == 0
    needed = memory_needed(shapes, shape.llama, layout, 2, eight, widened=eight) - WORKSPACES
    assert needed / 1.01 < kept.now + passing.most <= needed
    assert memory_needed(shapes, shape.llama, layout, 2, eight) < most


def test_layers_looked_back_at_one_by_one_give_what_they_give_at_once(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy.load(small_folder)
    policy.infer(Observation((torch.randint(0, 256, (56, 56, 3)).byte().numpy(),), "pick up the red cube", 0.0))
    with torch.inference_mode():
        at_once = policy._runner.text_attention()
        monkeypatch.setattr("vla_entropy_ros.engine.decoding.decoder.PROBED", 1)
        one_by_one = policy._runner.text_attention()
    assert len(at_once) > 1
    assert float(at_once.std()) > 0
    torch.testing.assert_close(one_by_one, at_once)


def test_too_little_memory_is_said_before_anything_is_loaded(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "free_memory", lambda _: 9_500_000_000)
    with pytest.raises(DeviceError, match=r"^15\.1 GB of GPU memory are needed, 9\.5 GB are free on cuda$"):
        check_memory(15_080_000_000, CUDA, {})
    check_memory(9_000_000_000, CUDA, {})
    check_memory(15_000_000_000, torch.device("cpu"), {})

    def refuse(need: int, where: torch.device, instead: object) -> None:
        raise DeviceError(f"{need} bytes on {where}")

    monkeypatch.setattr(checkpoint, "check_memory", refuse)
    loaded: list[int] = []
    with pytest.raises(DeviceError, match="bytes on cpu"):
        Policy.load(small_folder, progress=lambda done, total: loaded.append(done))
    assert not loaded


@pytest.mark.parametrize(
    ("free", "dtype", "quantisation", "said"),
    [
        (16e9, torch.float32, "none", "30.8 GB of GPU memory are needed, 16.0 GB are free on cuda; what fits: dtype: "
         "bfloat16 needs 15.4 GB, or quantisation: int8 needs 11.3 GB, or dtype: bfloat16, quantisation: int8 needs "
         "9.0 GB"),
        (11e9, torch.bfloat16, "none", "15.4 GB of GPU memory are needed, 11.0 GB are free on cuda; what fits: "
         "quantisation: int8 needs 9.0 GB"),
        (8e9, torch.float32, "int8", "11.3 GB of GPU memory are needed, 8.0 GB are free on cuda; even dtype: bfloat16 "
         "needs 9.0 GB: free some, or use a larger GPU"),
        (8e9, torch.bfloat16, "int8", "9.0 GB of GPU memory are needed, 8.0 GB are free on cuda"),
    ],
)  # fmt: skip
def test_what_would_fit_is_said(
    free: float, dtype: torch.dtype, quantisation: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "free_memory", lambda _: free)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 6))
    monkeypatch.setattr(checkpoint, "kernels_available", lambda _: None)
    shape = find_shape("7b")
    with pytest.raises(DeviceError) as caught:
        check_fits(tensor_shapes(shape.towers, shape.llama), shape.llama, LAYOUT, Placement(CUDA, dtype, quantisation))
    assert str(caught.value) == said
