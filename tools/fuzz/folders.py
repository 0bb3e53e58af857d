"""What spoils each file of a checkpoint folder: a function takes the folder and chance, and says what it did."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from . import known
from .raw import spoil_raw
from .trees import Raw, Twice, dump, spoil_tree

CONFIG, STATISTICS, TOKENIZER = "config.json", "dataset_statistics.json", "tokenizer.json"
INDEX = "model.safetensors.index.json"
TYPES = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "I32",
    "I16",
    "I8",
    "U8",
    "U32",
    "BOOL",
    "F8_E4M3",
    "F8_E5M2",
    "C64",
    "f32",
    "",
    "float32",
    "F4",
)
METADATA: tuple[Any, ...] = ({"format": "tf"}, {"format": 5}, [], "x", {"x": "y" * 10**6}, {"a": {"b": "c"}})
PLACES, BOTH = 0.1, 0.25  # shares of files that are spoiled without regard to what they hold


def spoil_json(file: Path, random: Random, entries: known.Known) -> str:
    """Spoil a JSON file."""
    if (said := spoil_raw(file, random, PLACES, BOTH)) is not None:
        return said
    tree = json.loads(file.read_text(encoding="utf-8"))
    said = "; ".join(spoil_tree(tree, random, entries) for _ in range(random.choice((1, 1, 1, 1, 2))))
    file.write_text(dump(tree), encoding="utf-8", errors="surrogatepass")
    return f"{file.name}: {said}"


def spoil_config(folder: Path, random: Random) -> str:
    """Spoil config.json."""
    return spoil_json(folder / CONFIG, random, known.CONFIG)


def spoil_tokenizer(folder: Path, random: Random) -> str:
    """Spoil tokenizer.json."""
    return spoil_json(folder / TOKENIZER, random, known.TOKENIZER)


def spoil_statistics(folder: Path, random: Random) -> str:
    """Spoil dataset_statistics.json, most often in what becomes an action."""
    file = folder / STATISTICS
    if random.random() < 0.5:
        return spoil_json(file, random, known.STATISTICS)
    tree = json.loads(file.read_text(encoding="utf-8"))
    action = next(iter(tree.values()))["action"]
    key = random.choice(sorted(known.ACTION))
    if key in action and random.random() < 0.5:
        place = random.randrange(len(action[key]))
        said = spoil_tree({"": action[key]}, random, {}) if random.random() < 0.2 else _one(action[key], place, random)
    else:
        value = random.choice(list(known.ACTION[key][""]))
        action[key] = value
        said = f"= {value!r:.80}"
    file.write_text(dump(tree), encoding="utf-8")
    return f"{file.name}: action/{key} {said}"


def _one(values: list[Any], place: int, random: Random) -> str:
    values[place] = random.choice(
        (1e308, -1e308, 1e30, float("nan"), float("inf"), None, "0.1", True, [0.1], 10**400, Raw("1e999"), -5.0, 5)
    )
    return f"number {place} = {values[place]!r:.80}"


def spoil_weights(folder: Path, random: Random) -> str:
    """Spoil a safetensors file: its header, or its bytes."""
    file = random.choice(sorted(folder.glob("*.safetensors")))
    if (said := spoil_raw(file, random, PLACES, BOTH)) is not None:
        return said
    content = file.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + size]), bytearray(content[8 + size :])
    if random.random() < 0.15:
        said = _number(header, data, random)
    elif random.random() < 0.1:
        said, length = (
            "header length",
            random.choice((0, 1, 7, size - 1, size + 1, 2**31, 2**40, 2**63, 2**64 - 1, len(content))),
        )
        file.write_bytes(struct.pack("<Q", length) + content[8:])
        return f"{file.name}: {said} {length}"
    else:
        said = spoil_tree(header, random, {}) if random.random() < 0.3 else _header(header, random)
    text = dump(header).encode("utf-8", "surrogatepass")
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return f"{file.name}: {said}"


def _number(header: dict[str, Any], data: bytearray, random: Random) -> str:
    """Put a number where no weight should have one; float32 as all subjects are."""
    name = random.choice([name for name in sorted(header) if name != "__metadata__"])
    begin, end = header[name]["data_offsets"]
    place = begin + 4 * random.randrange((end - begin) // 4)
    value = random.choice((float("nan"), float("inf"), -float("inf"), 1e38, -1e30, 1e-42, 0.0))
    data[place : place + 4] = struct.pack("<f", value)
    return f"{name} has a {value}"


def _header(header: dict[str, Any], random: Random) -> str:
    """Change what the header says of a tensor."""
    names = [name for name in sorted(header) if name != "__metadata__"]
    one, other = random.sample(names, 2)
    entry, there = header[one], header[other]
    kind = random.randrange(9)
    if kind == 0:
        header[one], header[other] = there, entry
        return f"{one} and {other} are swapped"
    if kind == 1:
        entry["dtype"] = random.choice(TYPES)
        return f"{one} is {entry['dtype']}"
    if kind == 2:
        entry["shape"] = random.choice(_shapes(entry))
        return f"{one} has shape {entry['shape']}"
    if kind == 3:
        entry["data_offsets"], before = random.choice(_offsets(entry, there)), entry["data_offsets"]
        return f"{one} lies at {entry['data_offsets']}, not {before}"
    if kind == 4:
        names = ["extra", "", f"module.{one}", f"base_model.model.{one}", f"{one}.weight", "__proto__"]
        header[random.choice(names)] = header.pop(one)
        return f"{one} has another name"
    if kind == 5:
        header["extra"] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        return "an empty tensor more"
    if kind == 6:
        header["__metadata__"] = random.choice(METADATA)
        return f"__metadata__ = {header['__metadata__']!r:.60}"
    if kind == 7:
        header[one] = Twice((entry, there))
        return f"{one} is there twice"
    entry[random.choice(("shape", "dtype", "data_offsets"))] = random.choice((None, [], {}, Raw("[" * 5000), 5, "x"))
    return f"{one}: {entry!r:.80}"


def _shapes(entry: dict[str, Any]) -> list[Any]:
    """Shapes of as many numbers, of more, and of none."""
    shape, numbers = entry["shape"], (entry["data_offsets"][1] - entry["data_offsets"][0]) // 4
    same = [shape[::-1], [*shape, 1], [1, *shape], [numbers], [float(number) for number in shape]]
    return [*same, [0], [], [-1], [2**63], [2**32, 2**32], [2 * numbers], "x"]


def _offsets(entry: dict[str, Any], other: dict[str, Any]) -> list[Any]:
    """Places that overlap, are turned round, too long, too short, outside, or none."""
    begin, end = entry["data_offsets"]
    near = [[end, begin], [begin, end + 4], [begin + 4, end], [begin, begin], [-4, end], [begin], [0, end - begin]]
    return [other["data_offsets"], *near, [0, 2**63], [2**64 - 4, 2**64]]


def spoil_index(folder: Path, random: Random) -> str:
    """Spoil the index of a folder with two shards, or what lies around it."""
    file = folder / INDEX
    draw = random.random()
    if draw < 0.4:
        return spoil_json(file, random, {})
    tree = json.loads(file.read_text(encoding="utf-8"))
    said = random.choice(AROUND)(folder, tree["weight_map"], random)
    file.write_text(dump(tree), encoding="utf-8")
    return f"{file.name}: {said}"


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("model-*.safetensors"))


def _elsewhere(folder: Path, names: dict[str, Any], random: Random) -> str:
    """Let one tensor, or all of a file, lie in a file of another name."""
    one, file = random.choice(sorted(names)), random.choice(_shards(folder)).name
    other = random.choice((f"../{file}", f"./{file}", f"{folder}/{file}", f"x/../{file}", file.upper(), "", ".",
        "/dev/zero", "/dev/stdin",
                           "config.json", "pytorch_model.bin", f"{file}\x00", 5, None, [file], "~/" + file, "..",
                               "nowhere.safetensors"))  # fmt: skip
    if random.random() < 0.5:
        names[one] = other
        return f"{one} lies in {other!r}"
    names |= {name: other for name, where in names.items() if where == file}
    return f"all of {file} lie in {other!r}"


def _exchanged(folder: Path, names: dict[str, Any], random: Random) -> str:
    """Let some tensors lie in the other shard, which does not have them."""
    one, other = (file.name for file in _shards(folder))
    chosen = random.sample(sorted(names), random.choice((1, 3, len(names))))
    names |= {name: other if names[name] == one else one for name in chosen}
    return f"{len(chosen)} tensors are said to lie in the other file"


def _files_swapped(folder: Path, names: dict[str, Any], random: Random) -> str:
    one, other = _shards(folder)
    spare = folder / "spare"
    one.rename(spare)
    other.rename(one)
    spare.rename(other)
    return "the two files have each other's name"


def _shadowed(folder: Path, names: dict[str, Any], random: Random) -> str:
    """Put a second, other copy of a tensor into the shard that the index does not name for it."""
    from safetensors.torch import load_file, save_file

    one, other = _shards(folder)
    here, there = load_file(one), load_file(other)
    name = random.choice(sorted(here))
    save_file({**there, name: here[name] + 1.0}, other)
    return f"{name} is in the other file, too, with other values"


def _second_set(folder: Path, names: dict[str, Any], random: Random) -> str:
    """Put a model.safetensors with other values beside the shards."""
    from safetensors.torch import load_file, save_file

    tensors = {name: tensor for file in _shards(folder) for name, tensor in load_file(file).items()}
    changed = random.choice(sorted(tensors))
    save_file({**tensors, changed: tensors[changed] * 1.5}, folder / "model.safetensors")
    return f"a model.safetensors lies beside it, with another {changed}"


def _linked(folder: Path, names: dict[str, Any], random: Random) -> str:
    """Let shards be links, as in a hub cache; or links to each other, or out of the folder."""
    one, other = _shards(folder)
    kind = random.randrange(4)
    if kind == 0:
        (folder / "blobs").mkdir()
        shutil.move(one, folder / "blobs" / "0123")
        one.symlink_to("blobs/0123")
        return f"{one.name} is a link into blobs/"
    one.unlink()
    if kind == 1:
        one.symlink_to(other.name)
        return f"{one.name} is a link to {other.name}"
    one.symlink_to("/dev/zero" if kind == 2 else "../../blobs/0123")
    return f"{one.name} is a link to {one.readlink()}"


def _fewer(folder: Path, names: dict[str, Any], random: Random) -> str:
    gone = random.sample(sorted(names), random.choice((1, 5, len(names) - 1)))
    for name in gone:
        del names[name]
    return f"{len(gone)} tensors are not named"


def _more(folder: Path, names: dict[str, Any], random: Random) -> str:
    name = random.choice(("extra.weight", "", "module.x", "x" * 10_000))
    names[name] = random.choice(_shards(folder)).name
    return f"{name[:40]!r} is named, too"


Around = Callable[[Path, dict[str, Any], Random], str]
AROUND: tuple[Around, ...] = (
    _elsewhere, _elsewhere, _elsewhere, _exchanged, _files_swapped, _shadowed, _second_set, _linked, _fewer, _more,
)  # fmt: skip
