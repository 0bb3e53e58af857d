"""A checkpoint is data: nothing in its folder is unpickled or run, beside the weights or in their place."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from vla_entropy_ros.engine import CheckpointError, Policy

MARK = "somebody_ran_me"


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._mark,)


def as_pickle(file: Path, trap: Trap) -> None:
    file.write_bytes(pickle.dumps(trap))


def as_torch(file: Path, trap: Trap) -> None:
    torch.save({"weight": trap}, file)


BESIDE = ("pytorch_model.bin", "model.pt", "action_head--150000_checkpoint.pt", "optimizer.pth", "tokenizer.pkl")
every_format = pytest.mark.parametrize("write", [as_pickle, as_torch])


@every_format
def test_the_trap_works(tmp_path: Path, write: Callable[[Path, Trap], None]) -> None:
    write(tmp_path / "model.pt", Trap(tmp_path / MARK))
    with suppress(RuntimeError):  # what torch did not write is unpickled first, then refused
        torch.load(tmp_path / "model.pt", weights_only=False)
    assert (tmp_path / MARK).exists()


@every_format
def test_pickles_beside_the_weights_are_not_unpickled(
    broken_folder: Path, write: Callable[[Path, Trap], None], tmp_path: Path
) -> None:
    for name in BESIDE:
        write(broken_folder / name, Trap(tmp_path / MARK))
    with suppress(CheckpointError):  # to refuse such a folder is as good
        Policy.load(broken_folder)
    assert not (tmp_path / MARK).exists()


@every_format
@pytest.mark.parametrize("name", BESIDE)
def test_a_pickle_instead_of_the_weights_is_refused(
    broken_folder: Path, name: str, write: Callable[[Path, Trap], None], tmp_path: Path
) -> None:
    (broken_folder / "model.safetensors").unlink()
    write(broken_folder / name, Trap(tmp_path / MARK))
    with pytest.raises(CheckpointError, match=r"model\.safetensors|OpenVLA-OFT"):
        Policy.load(broken_folder)
    assert not (tmp_path / MARK).exists()


@every_format
def test_a_pickle_that_calls_itself_safetensors_is_refused(
    broken_folder: Path, write: Callable[[Path, Trap], None], tmp_path: Path
) -> None:
    write(broken_folder / "model.safetensors", Trap(tmp_path / MARK))
    with pytest.raises(CheckpointError, match="no safetensors file"):
        Policy.load(broken_folder)
    assert not (tmp_path / MARK).exists()


@every_format
def test_a_pickle_that_the_index_names_is_refused(
    broken_folder: Path, write: Callable[[Path, Trap], None], tmp_path: Path
) -> None:
    (broken_folder / "model.safetensors").unlink()
    write(broken_folder / "pytorch_model.bin", Trap(tmp_path / MARK))
    index = {"weight_map": {"language_model.model.norm.weight": "pytorch_model.bin"}}
    (broken_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        Policy.load(broken_folder)
    assert not (tmp_path / MARK).exists()


def test_code_that_comes_with_a_checkpoint_is_not_run(broken_folder: Path, tmp_path: Path) -> None:
    program = f"from pathlib import Path\nPath({str(tmp_path / MARK)!r}).touch()\n"
    for name in ("modeling_prismatic.py", "configuration_prismatic.py", "sitecustomize.py", "torch.py"):
        (broken_folder / name).write_text(program)
    config = json.loads((broken_folder / "config.json").read_text())
    names = {"AutoModelForVision2Seq": "modeling_prismatic.OpenVLAForActionPrediction"}
    config |= {"auto_map": {"AutoConfig": "configuration_prismatic.OpenVLAConfig", **names}, "trust_remote_code": True}
    (broken_folder / "config.json").write_text(json.dumps(config))
    Policy.load(broken_folder)
    assert not (tmp_path / MARK).exists()
