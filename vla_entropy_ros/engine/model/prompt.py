"""Instruction -> token ids, in the prompt that a family was trained with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError, ObservationError
from ..files import shown
from .reading import ORDINARY
from .tokenizer import FolderTokenizer, check_ids

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

    ends: ids that end a text, which a prompt never has. first_action: id from which on tokens are actions, None for
    the end of the vocabulary. last: id that ends a prompt, None for any; appended only where the tokenizer knows it as
    `last_piece`.
    """

    text: str
    vocabulary: int
    bos_id: int
    ends: tuple[int, ...] = ()
    first_action: int | None = None
    last: int | None = None
    last_piece: str = ""


class Prompter:
    """Turns instructions into prompts; `encode` maps a prompt to ids that begin with BOS.

    Without `encode` the tokenizer in `folder` does; raises CheckpointError unless it fits the template.
    """

    def __init__(self, template: Template, encode: Encoder | None, folder: Path) -> None:
        self._template, self._encode = template, encode
        self._tokenizer = FolderTokenizer(folder) if encode is None else None
        if self._tokenizer is not None:
            self._check(self._tokenizer, folder)

    def __call__(self, instruction: str) -> Prompt:
        """Prompt of `instruction`; raises ObservationError if it holds no known word or is too long."""
        prompt = self._template.text.format(instruction.strip().lower())
        ids, unknown, known = self._tokens(prompt)
        if ids and ids[0] == self._template.bos_id:
            ids = ids[1:]
        if not known:
            raise ObservationError(f"this policy knows no word of the instruction {shown(instruction)}")
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
        ids, words, unknown = self._tokenizer.encode(prompt)
        if control := [i for i in ids[1:] if i in (self._template.bos_id, *self._template.ends)]:
            raise ObservationError(f"the instruction holds what this tokenizer takes for control tokens ({control})")
        last = self._template.last
        if last is not None and self._tokenizer.piece(last) == self._template.last_piece and ids[-1] != last:
            ids.append(last)
        return ids, tuple(unknown), len(words) > len(unknown)

    def _check(self, tokenizer: FolderTokenizer, folder: Path) -> None:
        template, where = self._template, f"the tokenizer in {folder}"
        if tokenizer.largest_id >= template.vocabulary:
            raise CheckpointError(
                f"{where} has ids up to {tokenizer.largest_id}, the decoder a vocabulary of {template.vocabulary}: "
                "they do not belong together"
            )
        try:
            ids, _, _ = tokenizer.encode(template.text.format(ORDINARY))
        except ObservationError as error:
            raise CheckpointError(f"{where} cannot read an ordinary instruction: {error}") from None
        check_ids(ids, template.bos_id, template.ends, template.first_action or template.vocabulary, where)
