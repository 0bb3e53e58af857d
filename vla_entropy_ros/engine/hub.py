"""A checkpoint by its name on the Hugging Face hub: the copy in the local cache; a download only if asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from .errors import CheckpointError
from .families.others import check_names
from .files import INDEX, SINGLE, folder_errors, one_line, read_json

NAME = re.compile(r"(?P<repository>[\w][\w.-]*/[\w][\w.-]*)(@(?P<revision>[\w][\w./-]*))?", re.ASCII)
ADDRESS = re.compile(r"(hf://|https?://(www\.)?(huggingface\.co|hf\.co)/)(models/)?")
PLACE = re.compile(r"/(tree|blob|resolve)/(?P<revision>[^/]+)(/.*)?$")  # behind a repository's address
READ = ("*.json", "*.safetensors", "tokenizer.model")  # what a checkpoint is loaded from; no code, no pickles


def find_folder(checkpoint: str | Path, allow_download: bool = False) -> Path:
    """The folder that `checkpoint` means: a path, or the copy of org/name or org/name@revision in the hub's cache.

    The address of a repository (https://huggingface.co/org/name, hf://org/name) is its name.
    allow_download: bring it there where it is missing, with a progress bar. Raises CheckpointError.
    """
    named = NAME.fullmatch(_name(str(checkpoint)))
    with folder_errors(checkpoint):
        path = _expanded(checkpoint)
        if named is None or path.exists():
            return path
    repository, revision = named["repository"], named["revision"]
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    at = f" --revision {revision}" if revision else ""
    with folder_errors(f"{repository} in the hub's cache"):
        try:
            cached = Path(snapshot_download(repository, revision=revision, local_files_only=True))
        except HFValidationError:
            return path
        except LocalEntryNotFoundError:
            cached = None
    if cached is not None and (is_whole(cached) or _is_other(cached)):
        return cached
    if not allow_download:
        why = f"nothing of that name is in the hub's cache ({HF_HUB_CACHE})"
        if cached is not None:
            why = f"its copy in the hub's cache ({cached}) is not whole: configuration or weights are missing"
        raise CheckpointError(
            f"no folder {checkpoint} here, and {why}: name a folder, or bring it there (hf download "
            f"{repository}{at}; the node does so itself with allow_download: true)"
        )
    return _download(repository, revision)


def _expanded(checkpoint: str | Path) -> Path:
    try:
        return Path(checkpoint).expanduser()
    except RuntimeError as error:  # no user of that name
        raise CheckpointError(f"no folder {checkpoint}: {one_line(error)}") from None


def _name(checkpoint: str) -> str:
    """org/name@revision, where `checkpoint` is an address of that on the hub; itself where it is none."""
    if (address := ADDRESS.match(checkpoint)) is None:
        return checkpoint
    name = checkpoint[address.end() :].partition("?")[0].partition("#")[0].rstrip("/").removesuffix(".git")
    if place := PLACE.search(name):
        return f"{name[: place.start()]}@{unquote(place['revision'])}"
    return name


def _is_other(folder: Path) -> bool:
    """Whether there is something else than a checkpoint, which no download completes: it is named where it is read."""
    return any(next(folder.glob(pattern), None) for pattern in ("*.bin", "*.pt", "adapter_*", "*.gguf"))


def is_whole(folder: Path) -> bool:
    """Whether configuration and weights are there, as far as the folder itself tells."""
    with folder_errors(folder):
        if not (folder / "config.json").exists():
            return False
        if (folder / SINGLE).exists() or not (folder / INDEX).exists():
            return (folder / SINGLE).exists()
        files = read_json(folder / INDEX).get("weight_map")
        return not isinstance(files, dict) or all((folder / file).exists() for file in {*map(str, files.values())})


def _download(repository: str, revision: str | None) -> Path:
    """Bring what is read of a repository into the cache; nothing where it is none that can be loaded."""
    from huggingface_hub import HfApi, snapshot_download

    listed: dict[str, Any] = {"repo_id": repository, "revision": revision}
    try:
        check_names(repository, HfApi().list_repo_files(**listed))
        return Path(snapshot_download(**listed, allow_patterns=list(READ)))
    except CheckpointError:
        raise
    except Exception as error:  # noqa: BLE001 - of the network, of the hub, of the disk
        raise CheckpointError(
            f"{repository} could not be downloaded: {one_line(error)}; is the name right, is the hub reachable, and is "
            "the repository open to you (hf auth login)?"
        ) from None
