"""Checkpoints that can't be loaded as they are: one line each, naming every tensor at fault and the valid choices."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vla_entropy_ros.engine import CheckpointError, DeviceError, Observation, Policy
from vla_entropy_ros.engine.tunables import Tunables
from vla_entropy_ros.settings import SettingError

from .folders import change_config, change_tensors, refusal

PICTURE = np.random.default_rng(0).integers(0, 256, (56, 56, 3), np.uint8)


def test_every_faulty_tensor_is_listed(broken_folder: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["language_model.model.norm.weight"]
        tensors["extra.weight"] = torch.zeros(1)
        tensors["projector.fc1.bias"] = torch.zeros(3)
        tensors["projector.fc2.bias"] = torch.zeros(32, dtype=torch.int32)

    change_tensors(broken_folder, spoil)
    said = refusal(broken_folder)
    assert "1 missing: language_model.model.norm.weight" in said
    assert "1 unexpected: extra.weight" in said
    assert "1 misshaped: projector.fc1.bias [3] instead of [32]" in said
    assert "1 of another type than float: projector.fc2.bias I32" in said


def test_a_path_that_is_no_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").startswith(
        f"no checkpoint folder at {tmp_path / 'nowhere'}: expected all files of a checkpoint"
    )


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_or_truncated_file_is_named(broken_folder: Path, name: str) -> None:
    path = broken_folder / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert name in refusal(broken_folder)
    path.unlink()
    assert name in refusal(broken_folder)


def test_a_missing_shard_is_named(tiny_folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors"):
        (tmp_path / name).write_bytes((tiny_folder / name).read_bytes())
    said = refusal(tmp_path, encoder=lambda prompt: [1, 2])
    assert "model-00002-of-00002.safetensors" in said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"vision_backbone_id": "resnet"}, "valid are dinosiglip-vit-so-224px"),
        ({"image_resize_strategy": "letterbox"}, "valid is resize-naive"),
        ({"n_action_bins": 128}, "valid is 256"),
        ({"image_sizes": [56, 70]}, "valid is a list of one whole number, the pixels along a side"),
        ({"image_sizes": [57, 57]}, "no multiple of the patch size 14"),
        ({"num_attention_heads": 5}, "not a multiple of the number of attention heads"),
        ({"text_config": None}, "text_config is missing"),
        ({"vision_config": {"width": 16}}, "exactly the keys width, depth, heads, mlp_width, stem_width"),
        ({"norm_stats": {}}, "no action statistics"),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_valid_choices(
    broken_folder: Path, values: dict[str, Any], said: str
) -> None:
    change_config(broken_folder, **values)
    assert said in refusal(broken_folder)


def test_wrong_choices_at_loading(small_folder: Path) -> None:
    assert "valid are tabletop" in refusal(small_folder, unnorm_key="bridge")
    assert "available are auto, cpu" in refusal(small_folder, DeviceError, device="tpu")
    assert "valid are float32, bfloat16, float16" in refusal(small_folder, DeviceError, dtype="int3")


def test_budgets_are_in_proportion_by_default_and_never_above_the_tokens(small_folder: Path) -> None:
    assert Tunables.default().row_budget == 4 * Tunables.default(64).row_budget
    assert Tunables.default(2048).row_budget == 8 * Tunables.default(256).row_budget  # eight cameras
    said = refusal(small_folder, SettingError, tunables=replace(Tunables.default(16), row_budget=17))
    assert said == "row_budget 17 is above the visual tokens of this policy: valid are 0 to 16"
    assert "k1 + k2 17" in refusal(small_folder, SettingError, tunables=replace(Tunables.default(16), k1=8, k2=9))


def test_a_policy_that_does_not_see_is_refused(broken_folder: Path) -> None:
    change_tensors(broken_folder, lambda t: t.update({n: v * 0 for n, v in t.items() if n.startswith("projector.")}))
    with pytest.raises(CheckpointError, match="does not see"):
        Policy.load(broken_folder).self_test()


def test_no_pickle_is_opened(broken_folder: Path) -> None:
    (broken_folder / "model.safetensors").rename(broken_folder / "pytorch_model.bin")
    assert "model.safetensors" in refusal(broken_folder)


def test_statistics_file_wins_over_the_configuration(broken_folder: Path) -> None:
    config = json.loads((broken_folder / "config.json").read_text())
    statistics = {"elsewhere": config["norm_stats"]["tabletop"]}
    (broken_folder / "dataset_statistics.json").write_text(json.dumps(statistics))
    assert Policy.load(broken_folder).info.unnorm_keys == ("elsewhere",)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_number_types_run(small_folder: Path, dtype: str) -> None:
    policy = Policy.load(small_folder, dtype=dtype)
    result = policy.infer(Observation((PICTURE,), "pick up the red cube", 0.0))
    assert policy.info.dtype == dtype
    assert np.isfinite(result.actions).all()


MEASURE = """
import resource, sys
from pathlib import Path
import torch
from vla_entropy_ros.engine.device import Placement
from vla_entropy_ros.engine.model.checkpoint import stream
from vla_entropy_ros.engine.model.stored import StoredTensors

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

stored = StoredTensors(Path(sys.argv[1]))
before = most()
where = Placement(torch.device("cpu"), torch.bfloat16)
count = sum(tensor.numel() for _, tensor in stream(stored, stored.shapes, where))
print(count, most() - before)
"""


def test_loading_holds_one_file_and_one_tensor_in_memory(tmp_path: Path) -> None:
    shards = {f"model-{n}.safetensors": {f"part.{n}": torch.full((8, 2**20), float(n))} for n in range(6)}
    for file, tensors in shards.items():
        save_file(tensors, tmp_path / file)
    index = {name: file for file, tensors in shards.items() for name in tensors}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    count, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(count) == 6 * 8 * 2**20
    assert float(grown) < 3 * 32  # MB; all six files take 192
