"""The tokenizer of a checkpoint folder, as transformers reads it; local files only, no code from the folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ..errors import CheckpointError, ObservationError
from ..files import library_errors, listed, read_json, shown
from .reading import BESIDE, GENERIC, PROBES, TOKENIZERS, read


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
        with library_errors(lambda line: ObservationError(f"the tokenizer cannot read the instruction: {line}")):
            encoded = self._tokenizer.encode(text)
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
    reading = read(folder)
    if reading.tokenizer_refused:
        raise CheckpointError(reading.tokenizer_refused)
    file = folder / TOKENIZERS[0]
    with library_errors(lambda line: CheckpointError(f"{folder} has no tokenizer that can be used: {line}")):
        loaded = _plain(Tokenizer.from_str(reading.tokenizer))
        if file.is_file():
            _compare(loaded, _plain(Tokenizer.from_file(str(file))), folder)
        _check_control(loaded, folder)
    return loaded, reading.unknown


def _plain(tokenizer: Any) -> Any:
    """The same without what a text must not be subjected to."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _compare(loaded: Any, plain: Any, folder: Path) -> None:
    """Raise CheckpointError if the class that tokenizer_config.json names reads tokenizer.json otherwise."""
    if more := _added(loaded, special=False) - _added(plain, special=False):
        raise CheckpointError(f"{folder}: the files beside {TOKENIZERS[0]} add words that it lacks: {listed(more)}")
    if any(loaded.encode(text).ids != plain.encode(text).ids for text in PROBES):
        kind = shown(read_json(folder / BESIDE[0]).get("tokenizer_class"))
        raise CheckpointError(
            f"{folder}: {BESIDE[0]} names the class {kind}, which reads {TOKENIZERS[0]} otherwise than it "
            f"stands there: expected {GENERIC}, or the file that belongs to that class"
        )


def _check_control(tokenizer: Any, folder: Path) -> None:
    """Raise CheckpointError where a control token is a word: control tokens inside an instruction are text here."""
    words = [
        text for text in _added(tokenizer, special=True) if text.replace(" ", "").isalnum() and text == text.lower()
    ]
    if words:
        raise CheckpointError(
            f"{folder}: the tokenizer has control tokens (special) that are ordinary words ({listed(words)}): set "
            "special to false where they are words of a text, or take them out of added_tokens"
        )


def _added(tokenizer: Any, special: bool) -> set[str]:
    """Added tokens that are control tokens, or those that are words and looked for in a text."""
    return {added.content for added in tokenizer.get_added_tokens_decoder().values() if added.special is special}
