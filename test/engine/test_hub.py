"""A checkpoint by its name on the hub: from the local cache, and downloaded only where that was asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import pytest

from vla_entropy_ros.engine import CheckpointError, Policy
from vla_entropy_ros.engine.hub import READ, find_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; whoever asks the hub fails the test."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_, **__: pytest.fail("the hub is asked"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


def store(cache: Path, folder: Path, name: str = "robots--cube", revision: str = "main") -> Path:
    """Lay a folder into the cache as a snapshot."""
    repository = cache / f"models--{name}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / revision).write_text(COMMIT)
    shutil.copytree(folder, repository / "snapshots" / COMMIT)
    return repository / "snapshots" / COMMIT


def test_a_name_means_the_copy_in_the_cache(cache: Path, small_folder: Path) -> None:
    snapshot = store(cache, small_folder)
    assert find_folder("robots/cube") == snapshot
    assert find_folder("robots/cube@main") == find_folder(f"robots/cube@{COMMIT}") == snapshot
    assert Policy.load("robots/cube").info.family == "openvla"
    for address in ("hf://robots/cube", "https://huggingface.co/robots/cube", "https://huggingface.co/robots/cube/"):
        assert find_folder(address) == snapshot
    for place in ("tree/main", "tree/main/", "blob/main/config.json", "?library=transformers", "#files"):
        assert find_folder(f"http://hf.co/robots/cube/{place}") == snapshot, place
    assert find_folder("https://huggingface.co/robots/cube.git") == snapshot
    with pytest.raises(CheckpointError, match="hf download robots/cube --revision v2"):
        find_folder("robots/cube@v2")


def test_a_cached_copy_of_something_else_is_named_for_what_it_is(cache: Path, small_folder: Path) -> None:
    snapshot = store(cache, small_folder)
    (snapshot / "model.safetensors").rename(snapshot / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickles are not opened"):
        Policy.load("robots/cube")


def test_a_folder_that_is_there_goes_before_a_name(cache: Path, small_folder: Path) -> None:
    store(cache, small_folder)
    Path("robots/cube").mkdir(parents=True)
    assert find_folder("robots/cube") == Path("robots/cube")
    for path in ("/somewhere/cube", "./robots/none", "cube", "robots/cube/deeper", "~/robots/cube"):
        assert find_folder(path) == Path(path).expanduser()


def test_what_is_not_in_the_cache_is_not_fetched_unasked(cache: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        Policy.load("robots/cube")
    said = str(caught.value)
    assert said.startswith("no folder robots/cube here, and nothing of that name is in the hub's cache (")
    assert "with allow_download: true)" in said
    assert "\n" not in said


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_copy_that_is_not_whole_is_finished_or_named(
    cache: Path, small_folder: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """As Ctrl-C during a download leaves it."""
    snapshot = store(cache, small_folder)
    (snapshot / missing).unlink()
    with pytest.raises(CheckpointError, match=r"is not whole: .* or bring it there \(hf download robots/cube;"):
        find_folder("robots/cube")
    monkeypatch.setattr("vla_entropy_ros.engine.hub._download", lambda *_: small_folder)
    assert find_folder("robots/cube", allow_download=True) == small_folder


def test_a_download_brings_what_is_read_and_no_code(
    cache: Path, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def download(repository: str = "", **how: Any) -> str:
        if how.get("local_files_only"):
            raise huggingface_hub.errors.LocalEntryNotFoundError("nothing there")
        asked.append({"repo_id": repository or how.pop("repo_id"), **how})
        return str(small_folder)

    files = ["config.json", "model.safetensors", "tokenizer.json", "modeling_prismatic.py"]
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_, **__: files)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    Policy.load("robots/cube@v2", allow_download=True)
    (wanted,) = [{k: v for k, v in one.items() if k != "repo_id" or v} for one in asked]
    assert (wanted["revision"], wanted["allow_patterns"]) == ("v2", list(READ))
    files.append("action_head--150000_checkpoint.pt")  # would be left out, and the rest looks like a plain OpenVLA
    with pytest.raises(CheckpointError, match=r"^robots/cube is an OpenVLA-OFT policy"):
        Policy.load("robots/cube", allow_download=True)
    assert len(asked) == 1


def test_a_hub_that_does_not_answer_is_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", fail)
    with pytest.raises(CheckpointError, match=r"^robots/cube could not be downloaded: no route to host; is the name"):
        find_folder("robots/cube", allow_download=True)
