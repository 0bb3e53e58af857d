"""The small policy's word-level tokenizer: the words of the task grammar, OpenVLA's prompt around them ignored."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

ACTION_BINS = 256
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")
WORDS = """
pick up the cube red green blue yellow put on plate push to left right then and in of move place lift
block object it table from into between near next front behind middle stack top
"""
GRAMMAR = WORDS.split()
TEXT_VOCABULARY = 64  # ids of words; the 256 action ids follow
PADDING = 64  # unused ids at the end, as in OpenVLA (pad_to_multiple_of)
VOCABULARY = TEXT_VOCABULARY + ACTION_BINS + PADDING


def build_tokenizer() -> Tokenizer:
    """Tokenizer of the grammar: <s> first, unknown words become <unk>."""
    words = [*SPECIAL, *GRAMMAR]
    if len(words) > TEXT_VOCABULARY:
        raise ValueError(f"{len(words)} words, room for {TEXT_VOCABULARY}")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("In: What action should the robot take to ", ""),
            normalizers.Replace(Regex(r"\?\s*Out:$"), ""),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("removed")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer
