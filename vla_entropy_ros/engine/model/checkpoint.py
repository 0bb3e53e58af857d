"""Stored tensors -> the weights of a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import product

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ..device import Placement, check_memory, half_dtype, kernels_available, name_of
from ..errors import CheckpointError
from ..files import Progress, plain
from .quantise import Linear
from .shapes import EMBEDDING, HEAD, LlamaConfig, Positions, Shapes, memory_needed
from .stored import StoredTensors


def fill(
    network: nn.Module, llama: LlamaConfig, positions: Positions, stored: StoredTensors, unused: set[str],
    where: Placement, progress: Progress,
) -> None:  # fmt: skip
    """Put the stored weights into `network` (on the meta device) tensor by tensor; `llama`: its decoder.

    Beside what is in place already, the device holds one tensor at a time. positions: of the sequence. unused: stored
    tensors that no part of the network has, the head among them where it is tied. Raises CheckpointError that lists
    every one that does not fit, or is not finite, or DeviceError if the device's memory is too small; nothing is loaded
    then.
    """
    wanted = wanted_shapes(network, llama)
    stored.check(wanted, unused)
    check_fits(wanted, llama, positions, where)
    done, total = 0, sum(math.prod(shape) for shape in wanted.values()) * where.dtype.itemsize
    for name, tensor in stream(stored, wanted, where):
        done += tensor.nbytes
        place(network, name, tensor, where.quantisation)
        del tensor  # before the next one is read
        progress(done, total)
    if llama.tied:
        embedding = network.get_parameter(EMBEDDING)
        for _, head in stream(stored, [HEAD] if HEAD in stored.shapes else [], where):
            if not torch.equal(head, embedding):
                raise CheckpointError(
                    f"{HEAD} is not the embedding, though text_config ties them: leave one of them out"
                )
        path, _, leaf = HEAD.rpartition(".")
        setattr(network.get_submodule(path), leaf, embedding)
    network.eval()


def check_fits(shapes: Shapes, llama: LlamaConfig, positions: Positions, where: Placement) -> None:
    """Raise DeviceError if a policy with weights of those shapes needs more memory than the device has free.

    The line says what would fit.
    """
    needs, widened = {}, kernels_available(where.device) is not None
    smaller = "int8" if where.quantisation == "none" else where.quantisation
    for quantisation, dtype in product((where.quantisation, smaller), (where.dtype, half_dtype(where.device))):
        changes = [f"dtype: {name_of(dtype)}"] if dtype != where.dtype else []
        changes += [f"quantisation: {quantisation}"] if quantisation != where.quantisation else []
        eight = quantisation != "none"
        needs[", ".join(changes)] = memory_needed(shapes, llama, positions, dtype.itemsize, eight, widened)
    check_memory(needs.pop(""), where.device, needs)


def wanted_shapes(network: nn.Module, llama: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every weight that `network` needs from a folder, by name; a tied head needs none of its own."""
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    return {name: shape for name, shape in shapes.items() if not (llama.tied and name == HEAD)}


def place(network: nn.Module, name: str, tensor: Tensor, quantisation: str) -> None:
    """Make `tensor` the parameter called `name`, in 8 bits where that is due; a stacked layer's goes into the stack."""
    path, _, leaf = name.rpartition(".")
    module = network.get_submodule(path)
    if isinstance(module, Linear):
        module.hold(tensor, quantisation)
    else:
        setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))


def stream(stored: StoredTensors, names: Iterable[str], where: Placement) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor on the device, one at a time; the host holds no more than one file's pages.

    Raises CheckpointError for one that is not finite, there or as it is stored.
    """
    for file, wanted in stored.by_file(names).items():
        with safe_open(file, framework="pt") as tensors:
            for name, inside in wanted:
                read = tensors.get_tensor(inside)
                # a copy: the file stays mapped only while it is read, and may be replaced later
                tensor = read.to(where.device, where.dtype, copy=True)
                if not is_finite(tensor):
                    raise CheckpointError(f"{file}: {plain(name)}: {_not_finite(read, where.dtype)}")
                yield name, tensor
                del read, tensor


def is_finite(tensor: Tensor) -> bool:
    """Whether no value is infinite or no number: in one pass, without a mask or a wider copy."""
    return bool(torch.stack(torch.aminmax(tensor)).isfinite().all())  # what is no number survives in both


def _not_finite(stored: Tensor, dtype: torch.dtype) -> str:
    """Why a stored tensor is not finite as `dtype`."""
    if wrong := int((~torch.isfinite(stored)).sum()):
        return f"{wrong} of its {stored.numel()} values are not finite: a training that diverged, or a damaged file"
    return f"values up to {float(stored.abs().max()):.3g} do not fit into {str(dtype).removeprefix('torch.')}"
