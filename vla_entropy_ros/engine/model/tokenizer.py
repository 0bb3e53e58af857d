"""The tokenizer of a checkpoint folder, as transformers reads it; local files only, no code from the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ..errors import CheckpointError, ObservationError, incomplete
from ..files import MB, find_file, one_line, read_json, shown
from .reading import BESIDE, GENERIC, PROBE, TOKENIZERS, read

MOST_ID = 2**20
MOST = 32 * MB  # Llama's take 2 MB, those of the largest vocabularies 20


class FolderTokenizer:
    """Turns text into ids as the folder's files say; control tokens that stand in the text are text.

    Truncation and padding that are stored in a file never apply. Raises CheckpointError.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer, unknown = _load(folder)
        unknown = getattr(self._tokenizer.model, "unk_token", None) or unknown or "<unk>"
        self._unknown = self._tokenizer.token_to_id(unknown)

    @property
    def largest_id(self) -> int:
        """The largest id that it can give."""
        return max(self._tokenizer.get_vocab().values(), default=-1)

    def piece(self, token: int) -> str | None:
        """What the vocabulary calls the token of that id."""
        return self._tokenizer.id_to_token(token)

    def encode(self, text: str) -> tuple[list[int], list[str], list[str]]:
        """Ids of `text`, those of a template (BOS) among them; the words of the text, and those it does not know.

        Raises ObservationError.
        """
        try:
            encoded = self._tokenizer.encode(text)
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            raise ObservationError(f"the tokenizer cannot read the instruction: {one_line(error)}") from None
        parts = zip(encoded.ids, encoded.offsets, encoded.special_tokens_mask, strict=True)
        words = [(token, text[start:end]) for token, (start, end), special in parts if not special]
        unknown = [word for token, word in words if token == self._unknown]
        return list(encoded.ids), [word for _, word in words], unknown


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


def _load(folder: Path) -> tuple[Any, str | None]:
    """The tokenizer, and its token for unknown words."""
    there = [name for name in TOKENIZERS if (folder / name).is_file() or (folder / name).is_symlink()]
    if not there:
        raise incomplete(f"{TOKENIZERS[0]} (or {TOKENIZERS[1]}) is missing in {folder}", folder)
    file = find_file(folder / there[0], MOST)
    told: dict[str, Any] = {}
    for name in BESIDE:
        if (folder / name).exists() or (folder / name).is_symlink():
            told |= read_json(folder / name)
    _check_told(told, folder)
    if file.name == TOKENIZERS[0]:
        _check_model(file)
    reading = read(folder)
    if reading.tokenizer_refused:
        raise CheckpointError(f"{file} is no tokenizer: {reading.tokenizer_refused}")
    try:
        loaded = _plain(Tokenizer.from_str(reading.tokenizer))
        if file.name == TOKENIZERS[0]:
            _compare(loaded, _plain(Tokenizer.from_file(str(file))), folder, told.get("tokenizer_class"))
    except CheckpointError:
        raise
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise CheckpointError(f"{file} is no tokenizer: {one_line(error)}") from None
    return loaded, reading.unknown


def _check_told(told: Mapping[str, Any], folder: Path) -> None:
    """Raise CheckpointError for what the files beside a tokenizer say that is not done here."""
    code = told.get("auto_map") or {}
    if not isinstance(code, dict) or "AutoTokenizer" in code:
        raise CheckpointError(f"{folder / BESIDE[0]} names a tokenizer of the folder's own code, which is not run here")
    for name, needed in (("add_bos_token", True), ("add_eos_token", False)):
        if told.get(name) not in (None, needed):
            said = f"{name} {shown(told[name])} is not supported: valid is {str(needed).lower()}"
            raise CheckpointError(f"{folder / BESIDE[0]}: {said}")


def _check_model(file: Path) -> None:
    """Raise CheckpointError for a vocabulary of ids that are none, and for ids that would be random."""
    model = read_json(file, MOST).get("model")
    if not isinstance(model, dict):
        raise CheckpointError(f"{file} is no tokenizer: it has no model")
    if model.get("dropout"):
        raise CheckpointError(f"{file}: model.dropout {shown(model['dropout'])}: ids would be random; valid is null")
    vocabulary = model.get("vocab")
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else []
    if wrong := next((i for i in ids if type(i) is not int or not 0 <= i < MOST_ID), None):
        raise CheckpointError(f"{file}: model.vocab has the id {shown(wrong)}: valid are whole numbers below {MOST_ID}")
    if len(set(ids)) < len(ids):
        raise CheckpointError(f"{file}: model.vocab has {len(ids) - len(set(ids))} ids twice: each is one token's")


def _plain(tokenizer: Any) -> Any:
    """The same without what a text must not be subjected to."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _compare(loaded: Any, plain: Any, folder: Path, kind: object) -> None:
    """Raise CheckpointError if the class that tokenizer_config.json names reads tokenizer.json otherwise."""
    if loaded.encode(PROBE).ids != plain.encode(PROBE).ids:
        raise CheckpointError(
            f"{folder}: {BESIDE[0]} names the class {shown(kind)}, which reads {TOKENIZERS[0]} otherwise than it "
            f"stands there: expected {GENERIC}, or the file that belongs to that class"
        )
