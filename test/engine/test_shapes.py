"""The table of stored tensors is what the modules have; a folder is looked at without torch, and refused at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vla_entropy_ros.bench.openvla import LLAMA, TOWERS
from vla_entropy_ros.engine.model.network import Network
from vla_entropy_ros.engine.model.shapes import HEAD, LlamaConfig, TowerConfig, tensor_shapes

from .folders import change_json, change_text

SMALL = LlamaConfig(32, 48, 3, 4, 2, vocab_size=100)
STEM = TowerConfig(56, 16, 2, 2, 40, stem_width=4)
REGISTERS = TowerConfig(56, 16, 1, 2, 40, class_token=True, registers=4, layer_scale=True)
LOOKED = """
import json, resource, sys
from pathlib import Path
from vla_entropy_ros.checkpoints import describe
told = describe(Path(sys.argv[1]), load=False)
heavy = sorted({"torch", "transformers"} & set(sys.modules))
own = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
memory = max(int(own.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
beside = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0
print(json.dumps({"refused": told["refused"], "heavy": heavy, "memory": memory, "processes": int(beside)}))
"""


@pytest.mark.parametrize(
    ("towers", "llama"),
    [((STEM,), SMALL), ((REGISTERS,), SMALL), ((REGISTERS, TowerConfig(56, 24, 3, 2, 72)), SMALL), (TOWERS, LLAMA)],
)
def test_the_table_is_what_the_modules_have(towers: tuple[TowerConfig, ...], llama: LlamaConfig) -> None:
    network = Network.shaped(towers, llama)
    assert tensor_shapes(towers, llama) == {name: tuple(one.shape) for name, one in network.state_dict().items()}


def test_a_tied_head_is_not_stored() -> None:
    tied = LlamaConfig(32, 48, 1, 4, 2, vocab_size=100, tied=True)
    free = LlamaConfig(32, 48, 1, 4, 2, vocab_size=100)
    assert tensor_shapes((STEM,), free).keys() - tensor_shapes((STEM,), tied).keys() == {HEAD}


def looked_at(folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", LOOKED, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("fault", ["none", "kind", "config", "text", "tokenizer", "weights", "shapes"])
def test_a_folder_is_looked_at_without_torch_and_in_little_memory(broken_folder: Path, fault: str) -> None:
    if fault == "kind":
        (broken_folder / "adapter_config.json").write_text("{}")
    elif fault == "config":
        change_json(broken_folder / "config.json", lambda config: config.update(image_sizes=[56, 70]))
    elif fault == "text":
        change_text(broken_folder, hidden_act="gelu")
    elif fault == "tokenizer":
        (broken_folder / "tokenizer.json").write_text("{}")
    elif fault == "weights":
        (broken_folder / "model.safetensors").write_bytes(b"no weights")
    elif fault == "shapes":
        change_text(broken_folder, intermediate_size=50)
    told = looked_at(broken_folder)
    assert (told["heavy"], bool(told["refused"])) == ([], fault != "none")
    assert told["memory"] < 200_000  # kB, of the larger of its two processes
    assert told["processes"] == (1 if fault in ("none", "shapes") else 0)  # beside it, for what takes over a second
