"""Checkpoint folders as people have them: each kind loads, or is named with what to do."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vla_entropy_ros.engine import CheckpointError, Policy
from vla_entropy_ros.engine.families import find_family
from vla_entropy_ros.engine.model import checkpoint

from .folders import change_json, change_tensors, refusal
from .test_text_config import PICTURE

Tensors = dict[str, torch.Tensor]
LAST = "language_model.model.norm.weight"


def logits(folder: Path) -> torch.Tensor:
    return Policy.load(folder).outputs(PICTURE, (4, 5, 6))


def write_shards(folder: Path, tensors: Tensors, split: Callable[[str], str]) -> None:
    """Write tensors to the files that `split` names, with an index."""
    files = {split(name) for name in tensors}
    for file in files:
        save_file({name: tensor for name, tensor in tensors.items() if split(name) == file}, folder / file)
    index = {"weight_map": {name: split(name) for name in tensors}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("action_head--150000_checkpoint.pt", "an OpenVLA-OFT policy"),
        ("proprio_projector--10_checkpoint.pt", "an OpenVLA-OFT policy"),
        ("noisy_action_projector--150000_checkpoint.pt", "an OpenVLA-OFT policy"),
        ("vision_backbone--latest_checkpoint.pt", "an OpenVLA-OFT policy"),
        ("adapter_config.json", "an adapter (LoRA)"),
        ("adapter_model.safetensors", "an adapter (LoRA)"),
        ("adapter_model.bin", "an adapter (LoRA)"),
        ("openvla-7b-q4.gguf", "a model in GGUF"),
    ],
)
def test_a_folder_of_another_kind_is_named_though_its_weights_would_load(
    broken_folder: Path, file: str, kind: str
) -> None:
    (broken_folder / file).parent.mkdir(exist_ok=True)
    (broken_folder / file).write_bytes(b"{}")
    assert refusal(broken_folder).startswith(f"{broken_folder} is {kind} ({file}): ")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("checkpoints/step-100.pt", "config.yaml"), "is a training run of Prismatic"),
        (("global_step100/mp_rank_00_model_states.pt", "latest"), "is a sharded training state"),
        (("__0_0.distcp", ".metadata"), "is a sharded training state"),
        (("params/_METADATA",), "is an openpi checkpoint"),
        (("lora_adapter/adapter_config.json",), "is an adapter (LoRA)"),
        (("snapshots/abc/config.json", "refs/main"), "hub's cache), but below it snapshots/abc has: name that"),
        (("checkpoint-500/config.json",), "has no config.json, but below it checkpoint-500 has: name that folder"),
        ((), "config.json is missing"),
    ],
)  # fmt: skip
def test_a_folder_without_a_policy_is_named(tmp_path: Path, files: tuple[str, ...], said: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"{}")
    assert said in refusal(tmp_path)


def test_a_lerobot_policy_is_named(tmp_path: Path) -> None:
    config = {"type": "smolvla", "input_features": {}, "output_features": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "is a LeRobot policy of type 'smolvla'" in refusal(tmp_path)


def test_leftovers_of_a_training_beside_a_policy_do_not_matter(broken_folder: Path) -> None:
    (broken_folder / "checkpoints").mkdir()
    (broken_folder / "lora_adapter").mkdir()
    (broken_folder / "lora_adapter" / "adapter_config.json").write_text("{}")
    for file in ("checkpoints/step-100.pt", "zero_to_fp32.py", "config.yaml", "training_args.bin"):
        (broken_folder / file).write_bytes(b"")
    Policy.load(broken_folder)


@pytest.mark.parametrize(
    "wrapper",
    ["module.", "_orig_mod.", "base_model.model.", "module._orig_mod.", "_fsdp_wrapped_module.",
     "_checkpoint_wrapped_module.", "module.base_model.model."],
)  # fmt: skip
def test_names_that_a_wrapper_changed_are_the_models_own(broken_folder: Path, wrapper: str) -> None:
    wanted = logits(broken_folder)
    change_tensors(broken_folder, lambda tensors: rename(tensors, lambda name: wrapper + name))
    assert bool((logits(broken_folder) == wanted).all())
    assert any(wrapper.split(".")[0] in remark for remark in Policy.load(broken_folder).info.remarks)


def rename(tensors: Tensors, new: Callable[[str], str]) -> None:
    changed = {new(name): tensor for name, tensor in tensors.items()}
    tensors.clear()
    tensors.update(changed)


@pytest.mark.parametrize("wrapper", ["_orig_mod", "module", "_fsdp_wrapped_module", "base_model.model"])
def test_a_part_that_was_wrapped_by_itself_has_the_models_own_names(broken_folder: Path, wrapper: str) -> None:
    wanted, part = logits(broken_folder), "language_model."
    change_tensors(broken_folder, lambda t: rename(t, lambda n: n.replace(part, f"{part}{wrapper}.", 1)))
    assert bool((logits(broken_folder) == wanted).all())


def test_two_tensors_of_one_name_but_for_a_wrapper_are_refused(broken_folder: Path) -> None:
    change_tensors(broken_folder, lambda t: t.update({f"module.{LAST}": t[LAST] + 1}))
    assert "tensors have the same name but for what a wrapper added" in refusal(broken_folder)


@pytest.mark.parametrize("prefix", ["model.", "vla.", "policy.", "student.model."])
def test_names_under_an_unknown_prefix_are_explained(broken_folder: Path, prefix: str) -> None:
    change_tensors(broken_folder, lambda t: rename(t, lambda n: prefix + n))
    said = refusal(broken_folder)
    assert f"have other names than OpenVLA's ({prefix}" in said
    assert "save the state_dict of the model itself" in said


@pytest.mark.parametrize("name", ["lora_A.default.weight", "base_layer.weight", "modules_to_save.default.weight"])
def test_an_adapter_that_is_not_merged_is_explained(broken_folder: Path, name: str) -> None:
    layer = "language_model.model.layers.0.self_attn.q_proj"
    change_tensors(broken_folder, lambda t: t.update({f"{layer}.{name}": torch.zeros(2, 2)}))
    said = refusal(broken_folder)
    assert "adapter that is not merged" in said
    assert "merge_and_unload" in said


def test_buffers_of_earlier_versions_are_skipped_with_a_line(broken_folder: Path) -> None:
    wanted = logits(broken_folder)
    buffer = "language_model.model.layers.{}.self_attn.rotary_emb.inv_freq"
    change_tensors(broken_folder, lambda t: t.update({buffer.format(layer): torch.ones(4) for layer in range(2)}))
    assert bool((logits(broken_folder) == wanted).all())
    assert "2 buffers of earlier versions are not needed" in Policy.load(broken_folder).info.remarks[0]


def test_of_two_sets_of_weights_the_one_that_transformers_takes_counts(broken_folder: Path) -> None:
    wanted = logits(broken_folder)
    old = {name: tensor + 1 for name, tensor in load_file(broken_folder / "model.safetensors").items()}
    write_shards(broken_folder, old, lambda name: f"model-0000{1 + ('layers' in name)}-of-00002.safetensors")
    policy = Policy.load(broken_folder)
    assert bool((policy.outputs(PICTURE, (4, 5, 6)) == wanted).all())
    assert "has model.safetensors and model.safetensors.index.json: the first is taken" in policy.info.remarks[0]
    assert policy.info.remarks[1].startswith("not read, as nothing names them: model-00001-of-00002.safetensors, ")


def test_each_tensor_comes_from_the_file_that_the_index_names(broken_folder: Path) -> None:
    wanted = logits(broken_folder)
    tensors = load_file(broken_folder / "model.safetensors")
    (broken_folder / "model.safetensors").unlink()
    write_shards(broken_folder, tensors, lambda name: "b.safetensors" if "layers" in name else "a.safetensors")
    for file, name in (("a.safetensors", "language_model.model.layers.0.mlp.up_proj.weight"), ("b.safetensors", LAST)):
        more = load_file(broken_folder / file) | {name: torch.full_like(tensors[name], 7.0)}
        save_file(more, broken_folder / file)
    policy = Policy.load(broken_folder)
    assert bool((policy.outputs(PICTURE, (4, 5, 6)) == wanted).all())
    assert "a.safetensors has tensors that model.safetensors.index.json does not take from it" in str(
        policy.info.remarks
    )


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("../elsewhere.safetensors", "names the file '../elsewhere.safetensors'"),
        ("/etc/passwd", "expected the name of a .safetensors beside it"),
        ("a.bin", "names the file 'a.bin'"),
        (7, "names the file 7"),
        ("b.safetensors", "named in model.safetensors.index.json but missing: b.safetensors"),
    ],
)
def test_an_index_names_files_beside_it_and_no_others(broken_folder: Path, file: Any, said: str) -> None:
    shutil.copy(broken_folder / "model.safetensors", broken_folder.parent / "elsewhere.safetensors")
    tensors = load_file(broken_folder / "model.safetensors")
    (broken_folder / "model.safetensors").unlink()
    write_shards(broken_folder, tensors, lambda _: "a.safetensors")
    change_json(broken_folder / "model.safetensors.index.json", lambda index: index["weight_map"].update({LAST: file}))
    assert said in refusal(broken_folder)


def test_a_tensor_that_is_not_in_the_file_the_index_names_is_named(broken_folder: Path) -> None:
    tensors = load_file(broken_folder / "model.safetensors")
    (broken_folder / "model.safetensors").unlink()
    write_shards(broken_folder, tensors, lambda name: "b.safetensors" if name == LAST else "a.safetensors")
    change_json(
        broken_folder / "model.safetensors.index.json", lambda i: i["weight_map"].update({LAST: "a.safetensors"})
    )
    assert f"says that a.safetensors has what is not in it: {LAST}" in refusal(broken_folder)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_not_finite_is_named(broken_folder: Path, value: float) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors[LAST][3] = value

    change_tensors(broken_folder, spoil)
    said = refusal(broken_folder)
    assert f"model.safetensors: {LAST}: 1 of its 32 values are not finite" in said


def test_large_weights_are_finite_but_may_not_fit_into_float16(broken_folder: Path) -> None:
    def enlarge(tensors: Tensors) -> None:
        tensors[LAST][:] = 3e38  # so many that their sum is not finite

    change_tensors(broken_folder, enlarge)
    Policy.load(broken_folder)
    assert f"{LAST}: values up to 3e+38 do not fit into float16" in refusal(broken_folder, dtype="float16")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_dangling_link_of_a_hubs_cache_is_named(broken_folder: Path, name: str) -> None:
    (broken_folder / name).unlink()
    (broken_folder / name).symlink_to("../../blobs/0123456789abcdef")
    assert f"{name} in {broken_folder} is a link to ../../blobs/0123456789abcdef, which is not there" in refusal(
        broken_folder
    )


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_pointer_of_git_lfs_is_named(broken_folder: Path, name: str) -> None:
    (broken_folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    assert f"{name} is a Git LFS pointer" in refusal(broken_folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"[1]", "holds no JSON object"),
        (b"\xff\xfe", "cannot be read"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b'{"a": "' + b"x" * 3_000_000 + b'"}', "has 3 MB: at most 2 MB are expected of a config.json"),
    ],
)
def test_a_file_that_is_no_plain_json_is_refused(broken_folder: Path, content: bytes, said: str) -> None:
    (broken_folder / "config.json").write_bytes(content)
    assert said in refusal(broken_folder)


@pytest.mark.parametrize("size", [0, 2**40, 2**63, 2**64 - 1])
def test_a_header_of_absurd_size_is_refused_before_it_is_read(broken_folder: Path, size: int) -> None:
    file = broken_folder / "model.safetensors"
    file.write_bytes(size.to_bytes(8, "little") + file.read_bytes()[8:])
    assert "its header would take" in refusal(broken_folder)


def test_what_a_folder_is_is_told_without_its_weights(broken_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "stream", lambda *_: pytest.fail("weights are read"))
    told = find_family(broken_folder).describe(broken_folder)
    assert told.refused == []
    assert told.memory["float32"] > told.memory["bfloat16"] > told.memory["int8, bfloat16"]
    assert told.action_ranges["tabletop"][1][0] == pytest.approx(0.03)


def test_everything_that_is_refused_is_told_at_once(broken_folder: Path) -> None:
    (broken_folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    change_tensors(broken_folder, lambda tensors: tensors.pop(LAST))
    change_json(broken_folder / "config.json", lambda config: config.update(norm_stats={"a": 1}))
    told = find_family(broken_folder).describe(broken_folder)
    assert [part in line for part, line in zip(("tokenizer", "'a' lack", LAST), told.refused, strict=True)] == [
        True
    ] * 3
    with pytest.raises(CheckpointError):
        Policy.load(broken_folder)
