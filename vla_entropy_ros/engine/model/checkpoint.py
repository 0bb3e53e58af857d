"""A folder in the OpenVLA layout -> network; nothing is unpickled, no code from the folder is run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..device import check_memory
from ..errors import CheckpointError
from ..families.openvla import PolicyConfig
from .backbones import TOWER_NAMES, find_backbone, tower_config, unused_tensors
from .llama import Llama
from .quantise import Linear, is_quantised, quantise
from .vision import Projector, StemPatchEmbed, VisionBackbone

LISTED = 20  # names of faulty tensors in one message; more would bury the cause
WORKING = 4  # tensors of the largest size that a tick, a stacked layer and the libraries need besides
FLOATS = ("F64", "F32", "F16", "BF16")


class Network(nn.Module):
    """Vision towers, projector and decoder; its `state_dict` has the checkpoint's own names."""

    def __init__(self, vision: VisionBackbone, projector: Projector, llama: Llama) -> None:
        super().__init__()
        self.vision_backbone = vision
        self.projector = projector
        self.language_model = llama

    def features(self, pixels: Tensor) -> Tensor:
        """Features [B, N, F] of the towers for pixel values [B, 3 or 6, S, S]."""
        return self.vision_backbone(pixels)

    def visual_tokens(self, pixels: Tensor) -> Tensor:
        """Visual tokens [B, N, D] for pixel values [B, 3 or 6, S, S]."""
        return self.projector(self.vision_backbone(pixels))

    def fuse(self) -> Network:
        """Compute faster from now on; for inference only, after the weights are loaded."""
        for module in self.vision_backbone.modules():
            if isinstance(module, StemPatchEmbed):
                module.fuse()
        self.language_model.fuse()
        return self


@dataclass(frozen=True)
class Checkpoint:
    """A loaded folder: its configuration and its network."""

    config: PolicyConfig
    network: Network


Progress = Callable[[int, int], None]  # bytes done, bytes in all


def load_checkpoint(
    folder: Path, config: PolicyConfig, device: torch.device, dtype: torch.dtype, quantisation: str = "none",
    progress: Progress = lambda done, total: None,
) -> Checkpoint:  # fmt: skip
    """Load `folder` onto `device` as `dtype`, tensor by tensor; raises CheckpointError that lists every one that does
    not fit, or DeviceError if the device's memory is too small; nothing is loaded then.
    """
    kinds = find_backbone(config.vision_backbone_id)
    stored = StoredTensors(folder)
    prefixes = [f"vision_backbone.{name}." for name in TOWER_NAMES[: len(kinds)]]
    towers = [
        tower_config(kind, prefix, stored.shapes, config.image_size, config.described_tower)
        for kind, prefix in zip(kinds, prefixes, strict=True)
    ]
    if len({tower.grid for tower in towers}) != 1:
        raise CheckpointError("the two vision towers have different grids")
    with torch.device("meta"):  # shapes only: the weights are allocated once, as they are read
        vision = VisionBackbone(*towers)
        projector = Projector(vision.width, config.llama.hidden_size, fused=len(towers) == 2)
        network = Network(vision, projector, Llama(config.llama))
    unused = set().union(*(unused_tensors(k, p, stored.shapes) for k, p in zip(kinds, prefixes, strict=True)))
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    _check(folder, wanted, stored, unused)
    check_memory(memory_needed(wanted, config, dtype, quantisation), device)
    done, total = 0, sum(math.prod(shape) for shape in wanted.values()) * dtype.itemsize
    for name, tensor in stored.stream(wanted, device, dtype):
        done += tensor.nbytes
        place(network, name, tensor, quantisation)
        progress(done, total)
    return Checkpoint(config, network.eval().fuse())


def place(network: Network, name: str, tensor: Tensor, quantisation: str) -> None:
    """Make `tensor` the parameter called `name`, in 8 bits where that is due."""
    path, _, leaf = name.rpartition(".")
    module = network.get_submodule(path)
    if quantisation == "int8" and is_quantised(name):
        assert isinstance(module, Linear)
        module.hold(*quantise(tensor))
    else:
        setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))


def memory_needed(
    shapes: Mapping[str, tuple[int, ...]], config: PolicyConfig, dtype: torch.dtype, quantisation: str
) -> int:
    """Bytes of device memory for weights of those shapes, slots and a tick's intermediate results."""
    sizes = {name: 1 if quantisation == "int8" and is_quantised(name) else dtype.itemsize for name in shapes}
    weights = sum(math.prod(shape) * sizes[name] for name, shape in shapes.items())
    largest = max(math.prod(shape) for shape in shapes.values()) * dtype.itemsize
    llama = config.llama
    slot = 2 * llama.num_hidden_layers * llama.num_key_value_heads * llama.head_dim * dtype.itemsize
    rows = 512 * config.cameras  # slots, and rows of a pass
    return weights + rows * slot + WORKING * max(largest, rows * llama.intermediate_size * dtype.itemsize)


class StoredTensors:
    """The tensors of a folder's safetensors files: names and shapes at once, data on request."""

    def __init__(self, folder: Path) -> None:
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
            raise CheckpointError(f"{single.name} and {index.name} are both missing in {folder}")
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
        raise CheckpointError(f"{index.parent}: named in {index.name} but missing: {_names(absent)}")
    return set(names), files


def _check(folder: Path, wanted: dict[str, tuple[int, ...]], stored: StoredTensors, unused: set[str]) -> None:
    have = stored.shapes
    faults = {
        "missing": [name for name in wanted if name not in have],
        "unexpected": [name for name in have if name not in wanted and name not in unused],
        "misshaped": [
            f"{name} {list(have[name])} instead of {list(shape)}"
            for name, shape in wanted.items()
            if name in have and have[name] != shape
        ],
        "of another type than float": [
            f"{name} {stored.types[name]}" for name in wanted if name in have and stored.types[name] not in FLOATS
        ],
    }
    if any(faults.values()):
        report = "; ".join(f"{len(names)} {kind}: {_names(names)}" for kind, names in faults.items() if names)
        raise CheckpointError(f"{folder}: tensors do not fit config.json: {report}")


def _names(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - LISTED
    return ", ".join(ordered[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def parameters(network: Network) -> int:
    """Number of weights."""
    return sum(math.prod(tensor.shape) for tensor in network.state_dict().values())
