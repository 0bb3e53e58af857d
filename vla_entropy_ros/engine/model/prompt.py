"""Instruction -> token ids, in the prompt that OpenVLA was trained with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from ..errors import CheckpointError, ObservationError
from ..families.openvla import PolicyConfig

OPENVLA = "In: What action should the robot take to {}?\nOut:"
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. "
    "USER: What action should the robot take to {}? ASSISTANT:"
)
SPACE_ID = 29871  # "▁" of Llama's tokenizer, which OpenVLA appends unless it is last already
MAX_TEXT = 128  # text slots: OpenVLA's prompt takes 13 tokens, LIBERO's longest instruction about 25

Encoder = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class Prompt:
    """Token ids of an instruction without BOS [M], and its words that the tokenizer does not know."""

    ids: tuple[int, ...]
    unknown: tuple[str, ...]


class Prompter:
    """Turns instructions into prompts; `encode` maps a prompt to ids that begin with BOS."""

    def __init__(self, config: PolicyConfig, encode: Encoder | None, folder: Path) -> None:
        self._config = config
        self._template = VICUNA if config.vicuna_prompt else OPENVLA
        self._encode = encode
        self._tokenizer = _load_tokenizer(folder / "tokenizer.json") if encode is None else None

    def __call__(self, instruction: str) -> Prompt:
        """Prompt of `instruction`; raises ObservationError if it holds no known word or is too long."""
        prompt = self._template.format(instruction.strip().lower())
        ids, unknown, known = self._tokens(prompt)
        if ids and ids[0] == self._config.bos_id:
            ids = ids[1:]
        if not known:
            raise ObservationError(f"this policy knows no word of the instruction {instruction!r}")
        if len(ids) > MAX_TEXT:
            raise ObservationError(f"the instruction takes {len(ids)} tokens: at most {MAX_TEXT} are possible")
        if outside := [i for i in ids if not 0 <= i < self._config.llama.vocab_size]:
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
        if self._tokenizer.id_to_token(SPACE_ID) == "▁" and ids[-1] != SPACE_ID:
            ids.append(SPACE_ID)
        return ids, unknown, len(words) > len(unknown)


def _load_tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise CheckpointError(f"{path.name} is missing in {path.parent}")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - tokenizers raises nothing narrower
        raise CheckpointError(f"{path} is no tokenizer: {' '.join(str(error).split())}") from None
