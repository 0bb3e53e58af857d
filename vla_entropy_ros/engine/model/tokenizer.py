"""The tokenizer of a checkpoint folder, read by transformers; local files only, no code from the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from ..errors import CheckpointError, incomplete
from ..files import MB, find_file, one_line, read_json, shown

FILES = ("tokenizer.json", "tokenizer.model")
BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
MOST = 32 * MB  # Llama's take 2 MB, those of the largest vocabularies 20
GENERIC = "PreTrainedTokenizerFast"  # transformers' name for a tokenizer.json as it stands
SENTENCEPIECE = "LlamaTokenizer"  # what reads a tokenizer.model that nothing else is said of
PROBE = "In: What action should the robot take to pick up the 2 red cubes, slowly?\nOut:"


class FolderTokenizer:
    """Turns text into ids as the folder's files say; control tokens that stand in the text are text.

    Truncation and padding that are stored in a file never apply. Raises CheckpointError.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokenizer = _load(folder)
        backend = self._tokenizer.backend_tokenizer
        unknown = getattr(backend.model, "unk_token", None) or self._tokenizer.unk_token or "<unk>"
        self._unknown = backend.token_to_id(unknown)

    @property
    def largest_id(self) -> int:
        """The largest id that it can give."""
        return max(self._tokenizer.get_vocab().values(), default=-1)

    def piece(self, token: int) -> str | None:
        """What the vocabulary calls the token of that id."""
        return self._tokenizer.backend_tokenizer.id_to_token(token)

    def encode(self, text: str) -> tuple[list[int], list[str], list[str]]:
        """Ids of `text`, those of a template (BOS) among them; the words of the text, and those it does not know."""
        encoded = self._tokenizer(
            text, split_special_tokens=True, truncation=False, padding=False, verbose=False,
            return_offsets_mapping=True, return_special_tokens_mask=True,
        )  # fmt: skip
        parts = zip(encoded["input_ids"], encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True)
        words = [(token, text[start:end]) for token, (start, end), special in parts if not special]
        unknown = [word for token, word in words if token == self._unknown]
        return list(encoded["input_ids"]), [word for _, word in words], unknown


def check_ids(ids: Sequence[int], bos: int, ends: Sequence[int], first_action: int, where: str) -> None:
    """Raise CheckpointError unless `ids` of a prompt begin with BOS and have no other, no end, and no action id."""
    listed = ", ".join(map(str, ids[:8])) + (" ..." if len(ids) > 8 else "")
    if list(ids).count(bos) != 1 or ids[0] != bos:
        raise CheckpointError(f"{where} gives a prompt the ids {listed}: expected one BOS ({bos}), at its beginning")
    if found := [i for i in ids if i in ends]:
        raise CheckpointError(
            f"{where} puts the token {found[0]} that ends a text (EOS) into a prompt ({listed}): the policy was "
            "trained without; take it out of the post_processor, or set add_eos_token to false in tokenizer_config.json"
        )
    if found := [i for i in ids if i >= first_action]:
        raise CheckpointError(
            f"{where} gives an ordinary prompt the ids {found[:8]}: those from {first_action} on are actions, or lie "
            "outside the vocabulary; is it the tokenizer of this checkpoint?"
        )


def _load(folder: Path) -> Any:
    there = [name for name in FILES if (folder / name).is_file() or (folder / name).is_symlink()]
    if not there:
        raise incomplete(f"{FILES[0]} (or {FILES[1]}) is missing in {folder}", folder)
    file = find_file(folder / there[0], MOST)
    told: dict[str, Any] = {}
    for name in BESIDE:
        if (folder / name).is_file():
            told |= read_json(folder / name)
    _check_told(told, folder)
    try:
        if file.name == FILES[0]:
            return _as_it_stands(folder, told)
        SentencePieceProcessor(model_file=str(file))  # tells what is wrong with it; transformers tries other formats
        return _from_transformers(folder, kind=SENTENCEPIECE, add_bos_token=True)
    except CheckpointError:
        raise
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise CheckpointError(f"{file} is no tokenizer: {one_line(error)}") from None


def _check_told(told: Mapping[str, Any], folder: Path) -> None:
    """Raise CheckpointError for what the files beside a tokenizer say that is not done here."""
    code = told.get("auto_map") or {}
    if not isinstance(code, dict) or "AutoTokenizer" in code:
        raise CheckpointError(f"{folder / BESIDE[0]} names a tokenizer of the folder's own code, which is not run here")
    for name, needed in (("add_bos_token", True), ("add_eos_token", False)):
        if told.get(name) not in (None, needed):
            valid = str(needed).lower()
            raise CheckpointError(
                f"{folder / BESIDE[0]}: {name} {shown(told[name])} is not supported: valid is {valid}"
            )


def _as_it_stands(folder: Path, told: Mapping[str, Any]) -> Any:
    """Read tokenizer.json by transformers; raises CheckpointError if its class for it would give other ids."""
    loaded, plain = _from_transformers(folder, kind=GENERIC), Tokenizer.from_file(str(folder / FILES[0]))
    plain.no_truncation()
    plain.no_padding()
    if loaded(PROBE)["input_ids"] != plain.encode(PROBE).ids:
        kind = shown(told.get("tokenizer_class"))
        raise CheckpointError(
            f"{folder}: {BESIDE[0]} names the class {kind}, which reads {FILES[0]} otherwise than it stands there: "
            f"expected {GENERIC}, or the file that belongs to that class"
        )
    return loaded


def _from_transformers(folder: Path, kind: str, **said: bool) -> Any:
    """Read by the class that tokenizer_config.json names, else by that called `kind`; `said`: in place of that file."""
    from transformers import AutoTokenizer, PreTrainedConfig, logging  # takes a second

    config: Any = PreTrainedConfig()
    config.tokenizer_class = kind
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what is wrong with a tokenizer is told in one line, by us
    try:
        return AutoTokenizer.from_pretrained(
            folder, config=config, local_files_only=True, trust_remote_code=False, **said
        )
    finally:
        logging.set_verbosity(verbosity)
