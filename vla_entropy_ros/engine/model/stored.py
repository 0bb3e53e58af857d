"""The safetensors files of a folder: which tensors there are, by their headers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError, incomplete
from ..files import INDEX, MB, SINGLE, find_file, folder_errors, listed, one_line, parse_json, read_json, shown

FLOATS = ("F64", "F32", "F16", "BF16")
MOST_HEADER = 2 * MB  # a 7B's takes 0.2
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
WRAPPERS = {  # parts of names that no model has of its own -> who puts them there
    "module": "DistributedDataParallel",
    "_orig_mod": "torch.compile",
    "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
}
ADAPTER = "base_model.model."  # before the names of a model that once had an adapter
ADAPTED = re.compile(r"lora_[AB]|lora_embedding|lora_magnitude|\.base_layer\.|modules_to_save|original_module")
OLD_BUFFERS = re.compile(r"\.(rotary_emb\.(inv_freq|cos_cached|sin_cached)|position_ids)$")


class StoredTensors:
    """The tensors of a folder's safetensors files: names, shapes, types, and which file has which.

    Names are the model's own: what a wrapper put into them is left out. remarks: a line each about what was
    left aside. Raises CheckpointError.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}
        self._stored: dict[str, str] = {}  # the model's own name -> the one in the file
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, str] = {}
        self.remarks: list[str] = []
        for file, promised in self._choose():
            self._scan(file, promised)
        self._unwrap()
        self._skip_buffers()

    def _choose(self) -> Iterator[tuple[Path, set[str] | None]]:
        """Each file to read, with the tensors that are taken from it; None for all."""
        single, index = self._folder / SINGLE, self._folder / INDEX
        there = [path for path in (single, index) if path.exists() or path.is_symlink()]
        if not there:
            raise incomplete(f"{SINGLE} and {INDEX} are both missing in {self._folder}{self._instead()}", self._folder)
        read: list[Path] = []
        if there[0] == single:
            if len(there) == 2:
                line = f"{self._folder} has {SINGLE} and {INDEX}: the first is taken, as transformers does"
                self.remarks.append(f"{line}; remove the other set if it is the right one that is left")
            read.append(find_file(single))
            yield single, None
        else:
            for file, names in _read_index(index).items():
                read.append(file)
                yield file, names
        if others := sorted(f.name for f in self._folder.glob("*.safetensors") if f not in read):
            self.remarks.append(f"not read, as nothing names them: {listed(others)}")

    def _instead(self) -> str:
        """What lies there instead of weights that can be read."""
        pickles = [file.name for file in self._folder.iterdir() if file.suffix in PICKLES]
        return f" ({listed(pickles)}: pickles are not opened, save them as safetensors)" if pickles else ""

    def _scan(self, file: Path, promised: set[str] | None) -> None:
        _check_header(file)
        try:
            with safe_open(file, framework="numpy") as tensors:
                there = set(tensors.keys())
                for name in sorted(there if promised is None else there & promised):
                    part = tensors.get_slice(name)
                    self._files[name] = file
                    self.shapes[name] = tuple(part.get_shape())
                    self.types[name] = part.get_dtype()
        except (OSError, MemoryError, SafetensorError, ValueError) as error:
            raise CheckpointError(f"{file} is truncated or no safetensors file: {one_line(error)}") from None
        if promised is None:
            return
        if absent := promised - there:
            raise CheckpointError(f"{INDEX} says that {file.name} has what is not in it: {listed(absent)}")
        if others := there - promised:
            self.remarks.append(f"{file.name} has tensors that {INDEX} does not take from it: {listed(others)}")

    def _unwrap(self) -> None:
        """Give the tensors their own names."""
        if adapted := [name for name in self.shapes if ADAPTED.search(name)]:
            raise CheckpointError(
                f"{self._folder}: these are the weights of an adapter that is not merged ({listed(adapted[:2])}, ...): "
                "merge it into its base (peft: merge_and_unload), save that, and name its folder"
            )
        own = {name: _own(name) for name in self.shapes}
        parts = {part for name in self.shapes for part in name.split(".")}
        found = [f"{part}. ({who})" for part, who in WRAPPERS.items() if part in parts]
        found += [ADAPTER] if any(ADAPTER in name for name in self.shapes) else []
        if found:
            self.remarks.append(f"names of tensors have {', '.join(found)}: left out")
        if len(set(own.values())) < len(own):
            raise CheckpointError(f"{self._folder}: tensors have the same name but for what a wrapper added to some")
        self._stored = {name: stored for stored, name in own.items()}
        self._files = {own[stored]: file for stored, file in self._files.items()}
        self.shapes = {own[stored]: shape for stored, shape in self.shapes.items()}
        self.types = {own[stored]: kind for stored, kind in self.types.items()}

    def _skip_buffers(self) -> None:
        if old := [name for name in self.shapes if OLD_BUFFERS.search(name)]:
            for name in old:
                del self.shapes[name], self.types[name]
            self.remarks.append(f"{len(old)} buffers of earlier versions are not needed: {listed(old[:2])}, ...")

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
            report = "; ".join(f"{len(names)} {kind}: {listed(names)}" for kind, names in faults.items() if names)
            raise CheckpointError(f"{self._folder}: tensors do not fit config.json: {report}")

    def by_file(self, names: Iterable[str]) -> dict[Path, list[tuple[str, str]]]:
        """The files that have these tensors; of each tensor its name, and the one it has in the file."""
        found: dict[Path, list[tuple[str, str]]] = {}
        for name in names:
            found.setdefault(self._files[name], []).append((name, self._stored[name]))
        return found


def _own(name: str) -> str:
    """The model's own name of a tensor: without what wrappers put before it, or into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS).replace(ADAPTER, "")


def _check_header(file: Path) -> None:
    """Raise CheckpointError before a library reads a header that cannot be one."""
    size = find_file(file).stat().st_size
    with file.open("rb") as opened:
        header = int.from_bytes(opened.read(8), "little")
        if not 0 < header <= min(size - 8, MOST_HEADER):
            line = f"its header would take {shown(header)} bytes of {size} ({MOST_HEADER} at most)"
            raise CheckpointError(f"{file} is truncated or no safetensors file: {line}")
        with folder_errors(f"{file} is truncated or no safetensors file: its header"):
            parse_json(opened.read(header), file)  # a name that stands twice: the library takes the last


def _read_index(index: Path) -> dict[Path, set[str]]:
    """The files that an index names, each with the tensors it is said to have."""
    weights = read_json(index, MOST_HEADER).get("weight_map")
    if not isinstance(weights, dict) or not weights:
        raise CheckpointError(f"{index} cannot be read: it has no weight_map of tensor and file")
    files: dict[Path, set[str]] = {}
    for name, file in weights.items():
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
            raise CheckpointError(
                f"{index} names the file {shown(file)} for {shown(name)}: expected the name of a .safetensors beside it"
            )
        files.setdefault(index.parent / file, set()).add(name)
    if absent := [file.name for file in files if not (file.exists() or file.is_symlink())]:
        raise incomplete(f"{index.parent}: named in {index.name} but missing: {listed(absent)}", index.parent)
    return files
