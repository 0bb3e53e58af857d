"""Instruction -> token ids, in the prompt that a family was trained with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from ..errors import CheckpointError, ObservationError, incomplete

MAX_TEXT = 128  # text slots: OpenVLA's prompt takes 13 tokens, LIBERO's longest instruction about 25

Encoder = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class Prompt:
    """Token ids of an instruction without BOS [M], and its words that the tokenizer does not know."""

    ids: tuple[int, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Template:
    """A family's prompt around `{}`, the lower-case instruction; ids below `vocabulary`; id of BOS, which is dropped.

    last: id that ends a prompt, None for any; appended only where the tokenizer knows it as `last_piece`.
    """

    text: str
    vocabulary: int
    bos_id: int
    last: int | None = None
    last_piece: str = ""


class Prompter:
    """Turns instructions into prompts; `encode` maps a prompt to ids that begin with BOS."""

    def __init__(self, template: Template, encode: Encoder | None, folder: Path) -> None:
        self._template, self._encode = template, encode
        self._tokenizer = _load_tokenizer(folder / "tokenizer.json") if encode is None else None

    def __call__(self, instruction: str) -> Prompt:
        """Prompt of `instruction`; raises ObservationError if it holds no known word or is too long."""
        prompt = self._template.text.format(instruction.strip().lower())
        ids, unknown, known = self._tokens(prompt)
        if ids and ids[0] == self._template.bos_id:
            ids = ids[1:]
        if not known:
            raise ObservationError(f"this policy knows no word of the instruction {instruction!r}")
        if len(ids) > MAX_TEXT:
            raise ObservationError(f"the instruction takes {len(ids)} tokens: at most {MAX_TEXT} are possible")
        if outside := [i for i in ids if not 0 <= i < self._template.vocabulary]:
            raise ObservationError(f"token ids {outside} lie outside the vocabulary of this checkpoint")
        return Prompt(tuple(ids), unknown)

    def _tokens(self, prompt: str) -> tuple[list[int], tuple[str, ...], bool]:
        """Ids, unknown words, and whether any word is known."""
        if self._encode is not None:
            ids = [int(i) for i in self._encode(prompt)]
            return ids, (), len(ids) > 1
        assert self._tokenizer is not None
        encoding = self._tokenizer.encode(prompt)
        missing = self._tokenizer.token_to_id(getattr(self._tokenizer.model, "unk_token", None) or "<unk>")
        words = [
            (token, prompt[start:end])
            for token, (start, end), special in zip(
                encoding.ids, encoding.offsets, encoding.special_tokens_mask, strict=True
            )
            if not special
        ]
        unknown = tuple(word for token, word in words if token == missing)
        ids = list(encoding.ids)
        last = self._template.last
        if last is not None and self._tokenizer.id_to_token(last) == self._template.last_piece and ids[-1] != last:
            ids.append(last)
        return ids, unknown, len(words) > len(unknown)


def _load_tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise incomplete(f"{path.name} is missing in {path.parent}", path.parent)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - tokenizers raises nothing narrower
        raise CheckpointError(f"{path} is no tokenizer: {' '.join(str(error).split())}") from None
