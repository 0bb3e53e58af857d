"""What is spoiled: the shipped policy, one in the real layout with two shards, parameters, and the shipped bag."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, processors

from vla_entropy_ros.resources import default_checkpoint, share_path

from ..checkpoints import write_json, write_shards

ROOT = Path(__file__).parents[2]
TEXT = (
    "In: What action should the robot take to pick up red green blue cube block put on the plate left right?\nOut: "
    "USER ASSISTANT"
)
CHUNK = 6  # opcode of an mcap chunk
CHUNK_CRC = 24  # its place in the chunk's content


def small_policy(folder: Path) -> Path:
    """The shipped policy."""
    return Path(shutil.copytree(default_checkpoint(), folder))


def two_shards(folder: Path) -> Path:
    """The real OpenVLA layout, tiny: two shards, both towers, Llama's kind of tokenizer, statistics of their own."""
    folder.mkdir(parents=True)
    spec: dict[str, Any] = json.loads((ROOT / "test" / "data" / "openvla_tiny.json").read_text())
    write_shards(folder, spec)
    write_json(folder / "dataset_statistics.json", spec["config"]["norm_stats"])
    _llama_tokenizer().save(str(folder / "tokenizer.json"))
    classes = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    write_json(folder / "tokenizer_config.json", classes)
    return folder


def _llama_tokenizer() -> Tokenizer:
    """As Llama's: BPE over characters and bytes, a mark in place of spaces, id 29871 for the mark alone."""
    control = ("<unk>", "<s>", "</s>")
    pieces = [
        *control,
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *sorted(set(TEXT.replace(" ", "").replace("\n", ""))),
    ]
    merges = [("t", "h"), ("th", "e"), ("r", "e"), ("re", "d"), ("c", "u"), ("\u2581", "the")]
    pieces += [left + right for left, right in merges]
    vocabulary = {piece: number for number, piece in enumerate(pieces)} | {"\u2581": 29871}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(list(control))
    return tokenizer


def parameters(folder: Path) -> Path:
    """The defaults as a parameter file."""
    folder.mkdir(parents=True)
    shutil.copy(share_path("config/policy.yaml"), folder / "given.yaml")
    return folder


def bag(folder: Path) -> Path:
    """The shipped bag, whose chunk is given the checksum that recorders on robots write."""
    shutil.copytree(share_path("bags/pick_red"), folder)
    file = folder / "pick_red.mcap"
    content = bytearray(file.read_bytes())
    for place, opcode, size in records(content):
        if opcode == CHUNK:
            (name,) = struct.unpack_from("<I", content, place + CHUNK_CRC + 4)
            begin = place + CHUNK_CRC + 8 + name + 8
            struct.pack_into("<I", content, place + CHUNK_CRC, zlib.crc32(content[begin : place + size]))
    file.write_bytes(content)
    return folder


def records(content: bytes | bytearray) -> list[tuple[int, int, int]]:
    """Place of the content, opcode and size of each record of an mcap file."""
    found, place = [], 8
    while place + 9 <= len(content) - 8:
        opcode, size = struct.unpack_from("<BQ", content, place)
        found.append((place + 9, opcode, size))
        place += 9 + size
    return found
