"""Stored tensors -> the weights of a network, and the memory they need."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ..device import Placement, check_memory
from ..errors import CheckpointError
from .llama import LlamaConfig
from .quantise import Linear, is_quantised, quantise
from .stored import StoredTensors

WORKING = 4  # tensors of the largest size that a tick, a stacked layer and the libraries need besides
EMBEDDING, HEAD = "language_model.model.embed_tokens.weight", "language_model.lm_head.weight"

Progress = Callable[[int, int], None]  # bytes done, bytes in all


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def fill(
    network: nn.Module, llama: LlamaConfig, cameras: int, stored: StoredTensors, unused: set[str], where: Placement,
    progress: Progress,
) -> None:  # fmt: skip
    """Put the stored weights into `network` (on the meta device) tensor by tensor; `llama`: its decoder.

    unused: stored tensors that no part of the network has. Raises CheckpointError that lists every one that does not
    fit, or is not finite, or DeviceError if the device's memory is too small; nothing is loaded then.
    """
    wanted = wanted_shapes(network, llama)
    stored.check(wanted, unused | ({HEAD} if llama.tied else set()))
    check_memory(memory_needed(wanted, llama, cameras, where), where.device)
    done, total = 0, sum(math.prod(shape) for shape in wanted.values()) * where.dtype.itemsize
    for name, tensor in stored.stream(wanted, where.device, where.dtype):
        done += tensor.nbytes
        place(network, name, tensor, where.quantisation)
        progress(done, total)
    if llama.tied:
        embedding = network.get_parameter(EMBEDDING)
        for _, head in stored.stream([HEAD] if HEAD in stored.shapes else [], where.device, where.dtype):
            if not torch.equal(head, embedding):
                raise CheckpointError(
                    f"{HEAD} is not the embedding, though text_config ties them: leave one of them out"
                )
        path, _, leaf = HEAD.rpartition(".")
        setattr(network.get_submodule(path), leaf, embedding)
    network.eval()


def wanted_shapes(network: nn.Module, llama: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every weight that `network` needs from a folder, by name; a tied head needs none of its own."""
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    return {name: shape for name, shape in shapes.items() if not (llama.tied and name == HEAD)}


def place(network: nn.Module, name: str, tensor: Tensor, quantisation: str) -> None:
    """Make `tensor` the parameter called `name`, in 8 bits where that is due."""
    path, _, leaf = name.rpartition(".")
    module = network.get_submodule(path)
    if quantisation == "int8" and is_quantised(name):
        assert isinstance(module, Linear)
        module.hold(*quantise(tensor))
    else:
        setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))


def memory_needed(shapes: Mapping[str, tuple[int, ...]], llama: LlamaConfig, cameras: int, where: Placement) -> int:
    """Bytes of device memory for weights of those shapes, a K/V cache and a tick's intermediate results."""
    size, eight = where.dtype.itemsize, where.quantisation == "int8"
    sizes = {name: 1 if eight and is_quantised(name) else size for name in shapes}
    weights = sum(math.prod(shape) * sizes[name] for name, shape in shapes.items())
    largest = max(math.prod(shape) for shape in shapes.values()) * size
    slot = 2 * llama.num_hidden_layers * llama.num_key_value_heads * llama.head_dim * size
    rows = 512 * cameras  # slots, and rows of a pass
    return weights + rows * slot + WORKING * max(largest, rows * llama.intermediate_size * size)
