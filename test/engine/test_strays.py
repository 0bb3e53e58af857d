"""What folders hold that nobody expected: each is taken for what it is, or refused in one line, and never endless."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file as save_arrays
from sentencepiece import SentencePieceTrainer

from vla_entropy_ros import checkpoints
from vla_entropy_ros.engine import CheckpointError, Policy
from vla_entropy_ros.engine.families import find_family, others
from vla_entropy_ros.engine.files import read_json
from vla_entropy_ros.engine.model import network
from vla_entropy_ros.engine.model.tokenizer import FolderTokenizer

from .folders import change_json, change_tensors, change_text, refusal

SMALL = [[0.5, 0.5, 0.5]]
EMBEDDING, HEAD = "language_model.model.embed_tokens.weight", "language_model.lm_head.weight"


def seen(folder: Path) -> list[str]:
    """What `inspect` refuses; what it says and what loading says agree."""
    refused = find_family(folder).describe(folder).refused
    if refused:
        assert refusal(folder)
    else:
        Policy.load(folder)
    return refused


def test_a_tied_head_that_is_stored_as_well_is_left_out(broken_folder: Path) -> None:
    change_tensors(broken_folder, lambda tensors: tensors.update({HEAD: tensors[EMBEDDING].clone()}))
    change_text(broken_folder, tie_word_embeddings=True)
    assert seen(broken_folder) == []


def test_a_folder_of_somebody_else_is_refused_in_one_line(broken_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(others.Path, "is_file", closed)
    with pytest.raises(CheckpointError, match=r"cannot be read: .*Permission denied"):
        find_family(broken_folder)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, ""),
        ({"image_resize_strategy": "resize-naive", "tvf_do_letterbox": False, "input_sizes": [[3, 56, 56]]}, ""),
        ({"means": [[0.498, 0.5, 0.502]], "stds": SMALL, "interpolations": ["bicubic"]}, ""),
        ({"image_resize_strategy": "letterbox"}, "image_resize_strategy 'letterbox': valid is 'resize-naive'"),
        ({"tvf_do_letterbox": True}, "tvf_do_letterbox True: valid is False"),
        ({"input_sizes": [[3, 224, 224]]}, "input_sizes [[3, 224, 224]]: valid is [[3, 56, 56]]"),
        ({"interpolations": ["nearest"]}, "interpolations ['nearest']"),
        ({"means": [[0.0, 0.0, 0.0]]}, "means [[0.0, 0.0, 0.0]]: valid for these towers is [[0.5, 0.5, 0.5]]"),
        ({"stds": [[1.0, 1.0, 1.0]]}, "stds [[1.0, 1.0, 1.0]]"),
        ({"means": SMALL * 2}, "means"),
        ({"means": "half"}, "means 'half'"),
    ],
)
def test_another_preparation_of_images_is_refused(broken_folder: Path, told: dict[str, Any], said: str) -> None:
    (broken_folder / "preprocessor_config.json").write_text(json.dumps(told))
    refused = seen(broken_folder)
    assert (len(refused), said in " ".join(refused)) == (1 if said else 0, True)


def test_a_tensor_that_stands_twice_in_a_header_is_refused(broken_folder: Path) -> None:
    file = broken_folder / "model.safetensors"
    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].rstrip()
    name, value = next((k, v) for k, v in json.loads(header).items() if k != "__metadata__")
    twice = header[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}".encode()
    file.write_bytes(len(twice).to_bytes(8, "little") + twice + data[8 + size :])
    assert f"the key '{name}' stands twice" in seen(broken_folder)[0]


def test_a_key_that_stands_twice_among_many_is_found(tmp_path: Path) -> None:
    many = ", ".join(f'"{number:x}": 0' for number in range(60_000))
    (tmp_path / "config.json").write_text(f'{{{many}, "z": 0, "z": 1}}')
    with pytest.raises(CheckpointError, match="the key 'z' stands twice"):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize(
    "text",
    [
        {"attention_bias": None, "mlp_bias": None, "use_cache": 1, "initializer_range": None},
        {"pretraining_tp": 1.0, "max_position_embeddings": 2048.0, "tie_word_embeddings": None},
        {"torch_dtype": "auto", "rope_scaling": None},
        {"torch_dtype": "torch.bfloat16", "output_attentions": True},
    ],
)
def test_what_does_not_count_may_be_written_as_one_likes(broken_folder: Path, text: dict[str, Any]) -> None:
    change_text(broken_folder, **text)
    assert seen(broken_folder) == []


def test_a_sentencepiece_model_that_transformers_reads_otherwise_is_refused(tmp_path: Path) -> None:
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(["In: What action should the robot take to pick up the red cube?"] * 20),
        model_writer=model, vocab_size=60, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (tmp_path / "tokenizer.model").write_bytes(model.getvalue())
    with pytest.raises(CheckpointError, match="is read otherwise by transformers than by SentencePiece"):
        FolderTokenizer(tmp_path)


@pytest.mark.parametrize("before", [0, 2000])
def test_a_normalizer_that_doubles_and_doubles_is_refused_before_it_does(broken_folder: Path, before: int) -> None:
    steps: list[dict[str, Any]] = [{"type": "Strip"}] * before
    steps += [{"type": "Replace", "pattern": {"String": "the red cube?"}, "content": "~~~~"}]
    steps += [{"type": "Replace", "pattern": {"String": "~"}, "content": "~~"}] * 27
    normalizer = {"type": "Sequence", "normalizers": steps}
    change_json(broken_folder / "tokenizer.json", lambda told: told.update(normalizer=normalizer))
    assert "its normalizer makes a text up to 134217728 times as long" in seen(broken_folder)[0]


def test_no_network_is_built_that_the_folder_does_not_hold(
    broken_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network.Network, "shaped", lambda *_: pytest.fail("it is built"))
    change_json(broken_folder / "config.json", lambda config: config["vision_config"].update(depth=65536))
    assert "vision_config.depth 65536, but the folder has tensors of 1 blocks" in seen(broken_folder)[0]
    change_json(broken_folder / "config.json", lambda config: config["vision_config"].update(depth=1, mlp_width=65536))
    assert "misshaped" in seen(broken_folder)[0]


def test_numbers_and_names_beyond_all_sense_are_refused_in_one_line(broken_folder: Path) -> None:
    change_text(broken_folder, rope_theta=10**400)
    assert "rope_theta a number of many digits must be a number from 1 to" in seen(broken_folder)[0]
    change_text(broken_folder, rope_theta=1e4)
    index = {"weight_map": {"a": "x" * 300 + ".safetensors"}}
    (broken_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (broken_folder / "model.safetensors").unlink()
    assert "File name too long" in seen(broken_folder)[0]
    (broken_folder / "model.safetensors.index.json").unlink()
    layer = f"language_model.model.layers.{'9' * 5000}.x"
    save_arrays({layer: np.zeros(1, np.float32)}, broken_folder / "model.safetensors")
    refused = seen(broken_folder)
    assert "the folder has tensors of 0 layers" in refused[0]


def test_names_from_a_folder_are_printable(broken_folder: Path) -> None:
    action = json.loads((broken_folder / "config.json").read_text())["norm_stats"]["tabletop"]
    (broken_folder / "dataset_statistics.json").write_text(json.dumps({"\ud800\x1b[2J": action}))
    page = "\n".join(checkpoints.lines(checkpoints.describe(broken_folder, load=False)))
    assert page.isascii()
    assert "\x1b" not in page
    (broken_folder / "action_head--\n\x1b[2Jx.pt").touch()
    with pytest.raises(CheckpointError) as caught:
        find_family(broken_folder)
    assert str(caught.value).isprintable()
    assert str(CheckpointError("x" * 10_000)).endswith("x ...")
    assert len(str(CheckpointError("x" * 10_000))) < 3000
