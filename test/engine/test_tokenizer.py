"""Tokenizers as folders have them: read by transformers, as their files say, and checked before the first tick."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors, trainers

from vla_entropy_ros.engine import CheckpointError, ObservationError, Policy
from vla_entropy_ros.engine.model.prompt import Prompter, Template
from vla_entropy_ros.engine.model.tokenizer import FolderTokenizer

from .folders import change_json, change_text, refusal

PROMPT = "In: What action should the robot take to {}?\nOut:"
SENTENCES = [PROMPT.format("pick up the red cube"), "put the green cube on the plate", "push the ball, slowly"] * 20
TEMPLATE = Template(PROMPT, 400, 1, ends=(2,), first_action=380)


@pytest.fixture
def llama_like(tmp_path: Path) -> Path:
    """A folder with a tokenizer.json in Llama's manner: byte pairs with a fallback to bytes, spaces as a sign."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=370, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = content["added_tokens"][:3]  # bytes are pieces, no control tokens
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def change(folder: Path, alter: Callable[[Tokenizer], object]) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    alter(tokenizer)
    tokenizer.save(str(folder / "tokenizer.json"))


def ids(folder: Path, instruction: str) -> tuple[int, ...]:
    return Prompter(TEMPLATE, None, folder)(instruction).ids


@pytest.mark.parametrize(
    "told",
    [
        None,
        {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "legacy": False},
        {"tokenizer_class": "LlamaTokenizerFast", "model_max_length": 4, "padding_side": "left"},
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"},
        {"tokenizer_class": "SomethingOfOurs"},
    ],
)
def test_ids_are_those_of_the_file(llama_like: Path, told: dict[str, Any] | None) -> None:
    if told is not None:
        (llama_like / "tokenizer_config.json").write_text(json.dumps(told))
    plain = Tokenizer.from_file(str(llama_like / "tokenizer.json"))
    assert ids(llama_like, "Pick up the red cube") == tuple(plain.encode(SENTENCES[0]).ids[1:])


def test_truncation_and_padding_that_are_stored_never_apply(llama_like: Path) -> None:
    """With them, "red cube" and "blue cube" would end in the same action."""
    wanted = ids(llama_like, "pick up the red cube")
    change(llama_like, lambda tokenizer: tokenizer.enable_truncation(5))
    change(llama_like, lambda tokenizer: tokenizer.enable_padding(length=100, pad_id=2, pad_token="</s>"))
    assert ids(llama_like, "pick up the red cube") == wanted
    assert ids(llama_like, "pick up the blue cube") != wanted


@pytest.mark.parametrize("token", ["</s>", "<s>", "<unk>"])
def test_control_tokens_inside_an_instruction_are_text(llama_like: Path, token: str) -> None:
    change(llama_like, lambda tokenizer: tokenizer.add_special_tokens([AddedToken(token, special=True)]))
    found = ids(llama_like, f"pick {token} up")
    assert not {0, 1, 2} & set(found)
    tokenizer = Tokenizer.from_file(str(llama_like / "tokenizer.json"))
    assert tokenizer.decode(list(found), skip_special_tokens=False) == f" {PROMPT.format(f'pick {token} up')}"


def test_a_tokenizer_that_panics_on_an_instruction_is_one_line(llama_like: Path) -> None:
    """What tokenizers raises then is no Exception; the engine must not end by it."""
    slow = normalizers.Replace(Regex("(a+)+$"), "")
    change(llama_like, lambda tokenizer: setattr(tokenizer, "normalizer", slow))
    prompter = Prompter(TEMPLATE, None, llama_like)
    with pytest.raises(ObservationError, match="the tokenizer cannot read the instruction"):
        prompter("a" * 60 + " b")


def test_a_control_token_that_is_a_word_of_the_vocabulary_is_no_instruction(broken_folder: Path) -> None:
    with pytest.raises(ObservationError, match="control tokens"):
        Policy.load(broken_folder).model.prompt("pick </s> up")


@pytest.mark.parametrize(
    ("single", "said"),
    [
        ("<s> $A </s>", "puts the token 2 that ends a text (EOS) into a prompt"),
        ("$A", "expected one BOS (1), at its beginning"),
        ("$A <s>", "expected one BOS (1), at its beginning"),
        ("<s> <s> $A", "expected one BOS (1), at its beginning"),
        ("</s> $A", "expected one BOS (1), at its beginning"),
    ],
)
def test_what_a_template_puts_around_a_prompt_is_checked(llama_like: Path, single: str, said: str) -> None:
    control = [("<s>", 1), ("</s>", 2)]
    change(
        llama_like,
        lambda t: setattr(t, "post_processor", processors.TemplateProcessing(single=single, special_tokens=control)),
    )
    with pytest.raises(CheckpointError) as caught:
        Prompter(TEMPLATE, None, llama_like)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (Template(PROMPT, 300, 1), "has ids up to 3"),
        (Template(PROMPT, 400, 1, first_action=300), "those from 300 on are actions"),
        (Template(PROMPT, 400, 5), "expected one BOS (5)"),
    ],
)
def test_a_tokenizer_of_another_checkpoint_is_refused_at_once(llama_like: Path, template: Template, said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        Prompter(template, None, llama_like)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"add_eos_token": True}, "add_eos_token True is not supported: valid is false"),
        ({"add_bos_token": False}, "add_bos_token False is not supported: valid is true"),
        ({"tokenizer_class": "BertTokenizer"}, "tokenizer"),
        ({"tokenizer_class": 5}, "tokenizer_class 5: expected its name, as PreTrainedTokenizerFast"),
        ({"added_tokens_decoder": {"371": {"content": "purple", "special": False}}}, "add words that it lacks: purple"),
        ({"auto_map": {"AutoTokenizer": ["mine.Tokenizer", None]}}, "the folder's own code, which is not run here"),
        ({"auto_map": ["mine.Tokenizer", None]}, "the folder's own code, which is not run here"),
    ],
)
def test_what_tokenizer_config_asks_for_and_is_not_done_is_refused(
    llama_like: Path, told: dict[str, Any], said: str
) -> None:
    (llama_like / "tokenizer_config.json").write_text(json.dumps(told))
    with pytest.raises(CheckpointError) as caught:
        FolderTokenizer(llama_like)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_control_token_that_is_an_ordinary_word_is_refused(llama_like: Path) -> None:
    change(llama_like, lambda tokenizer: tokenizer.add_special_tokens(["<image>", "PAD", "red"]))
    with pytest.raises(
        CheckpointError, match=r"control tokens \(special\) that are ordinary words \(red\): set special"
    ):
        FolderTokenizer(llama_like)


def test_a_sentence_that_becomes_endless_ids_is_refused(llama_like: Path) -> None:
    endless = normalizers.Prepend("x" * 5000)
    change(llama_like, lambda tokenizer: setattr(tokenizer, "normalizer", endless))
    with pytest.raises(CheckpointError, match=r"turns \d+ letters into \d+ ids: at most 1024 are expected"):
        FolderTokenizer(llama_like)


def test_a_class_that_reads_the_file_otherwise_is_refused(broken_folder: Path) -> None:
    """A file of whole words read as byte pairs, say: no word would be known, and nobody would see why."""
    (broken_folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer"}))
    assert "names the class 'LlamaTokenizer', which reads tokenizer.json otherwise" in refusal(broken_folder)


def test_the_id_that_ends_a_text_is_that_of_the_configuration(broken_folder: Path) -> None:
    change_text(broken_folder, eos_token_id=[9, 6])
    assert "puts the token 6 that ends a text" in refusal(broken_folder)
    change_json(broken_folder / "tokenizer.json", lambda content: content.update(post_processor=None))
    assert "expected one BOS" in refusal(broken_folder)


def test_a_tokenizer_of_sentencepiece_gives_its_ids(tmp_path: Path) -> None:
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, vocab_size=330, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (tmp_path / "tokenizer.model").write_bytes(model.getvalue())
    plain = SentencePieceProcessor(model_proto=model.getvalue())
    assert ids(tmp_path, "push the red ball") == tuple(plain.encode(PROMPT.format("push the red ball")))
    (tmp_path / "tokenizer.model").write_bytes(model.getvalue()[:-100])
    with pytest.raises(CheckpointError, match=r"tokenizer\.model is no tokenizer"):
        FolderTokenizer(tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dropout": 0.5}, "model.dropout 0.5: ids would be random"),
        ({"vocab": {"<unk>": 0, "<s>": 1, "red": 2**31}}, "model.vocab has the id 2147483648"),
        ({"vocab": {"<unk>": 0, "<s>": 1, "red": -1}}, "model.vocab has the id -1"),
        ({"vocab": {"<unk>": 0, "<s>": 1, "red": "2"}}, "model.vocab has the id '2'"),
        ({"vocab": {"<unk>": 0, "<s>": 1, "red": 1}}, "model.vocab has 1 ids twice"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused(llama_like: Path, changed: dict[str, Any], said: str) -> None:
    change_json(llama_like / "tokenizer.json", lambda content: content["model"].update(changed))
    with pytest.raises(CheckpointError) as caught:
        FolderTokenizer(llama_like)
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"model": {"type": "BPE"}}', b"\x00" * 100, b'{"model": 3}'])
def test_a_file_that_is_no_tokenizer_is_refused_in_one_line(llama_like: Path, content: bytes) -> None:
    (llama_like / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        FolderTokenizer(llama_like)
    assert "tokenizer.json" in str(caught.value)
    assert "\n" not in str(caught.value)
