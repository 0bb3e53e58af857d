"""Stored tensors -> the weights of a network; nothing is unpickled, no code from the folder is run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..device import Placement, check_memory
from ..errors import CheckpointError, incomplete
from .llama import LlamaConfig
from .quantise import Linear, is_quantised, quantise

LISTED = 20  # names of faulty tensors in one message; more would bury the cause
WORKING = 4  # tensors of the largest size that a tick, a stacked layer and the libraries need besides
FLOATS = ("F64", "F32", "F16", "BF16")


Progress = Callable[[int, int], None]  # bytes done, bytes in all


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def fill(
    network: nn.Module, llama: LlamaConfig, cameras: int, stored: StoredTensors, unused: set[str], where: Placement,
    progress: Progress,
) -> None:  # fmt: skip
    """Put the stored weights into `network` (on the meta device) tensor by tensor; `llama`: its decoder.

    unused: stored tensors that no part of the network has. Raises CheckpointError that lists every one that does not
    fit, or DeviceError if the device's memory is too small; nothing is loaded then.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    stored.check(wanted, unused)
    check_memory(memory_needed(wanted, llama, cameras, where), where.device)
    done, total = 0, sum(math.prod(shape) for shape in wanted.values()) * where.dtype.itemsize
    for name, tensor in stored.stream(wanted, where.device, where.dtype):
        done += tensor.nbytes
        place(network, name, tensor, where.quantisation)
        progress(done, total)
    network.eval()


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


class StoredTensors:
    """The tensors of a folder's safetensors files: names and shapes at once, data on request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, str] = {}
        promised: set[str] = set()
        index = folder / "model.safetensors.index.json"
        single = folder / "model.safetensors"
        if index.is_file():
            promised, files = _read_index(index)
        elif single.is_file():
            files = [single]
        else:
            raise incomplete(f"{single.name} and {index.name} are both missing in {folder}", folder)
        for file in files:
            self._scan(file)
        if absent := promised - set(self.shapes):
            raise CheckpointError(f"{folder}: named in {index.name} but in no file: {_names(absent)}")

    def _scan(self, file: Path) -> None:
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in sorted(tensors.keys()):
                    part = tensors.get_slice(name)
                    self._files[name] = file
                    self.shapes[name] = tuple(part.get_shape())
                    self.types[name] = part.get_dtype()
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{file} is truncated or no safetensors file: {_one_line(error)}") from None

    def check(self, wanted: Mapping[str, tuple[int, ...]], unused: set[str]) -> None:
        """Raise CheckpointError that lists what is missing, unexpected, misshaped or no number."""
        have = self.shapes
        faults = {
            "missing": [name for name in wanted if name not in have],
            "unexpected": [name for name in have if name not in wanted and name not in unused],
            "misshaped": [
                f"{name} {list(have[name])} instead of {list(shape)}"
                for name, shape in wanted.items()
                if name in have and have[name] != shape
            ],
            "of another type than float": [
                f"{name} {self.types[name]}" for name in wanted if name in have and self.types[name] not in FLOATS
            ],
        }
        if any(faults.values()):
            report = "; ".join(f"{len(names)} {kind}: {_names(names)}" for kind, names in faults.items() if names)
            raise CheckpointError(f"{self._folder}: tensors do not fit config.json: {report}")

    def stream(self, names: Iterable[str], device: torch.device, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
        """Name and tensor on `device` as `dtype`, one at a time; the host holds no more than one file's pages."""
        by_file: dict[Path, list[str]] = {}
        for name in names:
            by_file.setdefault(self._files[name], []).append(name)
        for file, wanted in by_file.items():
            with safe_open(file, framework="pt") as tensors:
                for name in wanted:
                    # a copy: the file stays mapped only while it is read, and may be replaced later
                    yield name, tensors.get_tensor(name).to(device, dtype, copy=True)


def _read_index(index: Path) -> tuple[set[str], list[Path]]:
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted({index.parent / Path(file).name for file in names.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} cannot be read: {_one_line(error)}") from None
    if absent := [file.name for file in files if not file.is_file()]:
        raise incomplete(f"{index.parent}: named in {index.name} but missing: {_names(absent)}", index.parent)
    return set(names), files


def _names(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - LISTED
    return ", ".join(ordered[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
