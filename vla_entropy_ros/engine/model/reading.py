"""What transformers reads of a folder: the decoder's configuration and the tokenizer, in a process of its own.

Importing it costs over two seconds beside torch, and one without, on another core; and a file that makes a tokenizer
hang, or take all memory, ends with that process.
"""

from __future__ import annotations

import json
import math
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from ..errors import CheckpointError, incomplete
from ..files import MB, find_file, library_errors, one_line, read_json, shown

T = TypeVar("T")

CONFIG = "config.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model")
BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
TAKEN = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "vocab_size", "rms_norm_eps", "rope_parameters", "tie_word_embeddings", "eos_token_id",
)  # fmt: skip
SPELLINGS = ("rope_scaling", "rope_theta", "partial_rotary_factor")  # of rope_parameters, in earlier versions
GENERIC = "PreTrainedTokenizerFast"  # transformers' name for a tokenizer.json as it stands
SENTENCEPIECE = "LlamaTokenizer"  # what reads a tokenizer.model that nothing else is said of
MOST_ID = 2**20
MOST_IDS = 1024  # of a sentence: many times those of its bytes
MOST = 20 * MB  # Llama's take 2 MB, those of large vocabularies 10
PATIENCE = 30.0  # seconds: many times what a busy machine needs
MOST_CPU, MOST_MEMORY = 2, 600 * MB  # seconds of processor time and bytes that a folder may take, beyond the libraries
CPU_PER_MB = 0.5  # seconds more for a tokenizer of many words: those of 16 MB take two on a fast machine
MOST_GROWTH = 64  # times that a normalizer may make a text longer: Llama's leaves it as long
ERROR = re.compile(r"\w+Error: ")
ORDINARY = "pick up the red cube"  # instruction that every policy's prompt is tried with
PROBES = (  # what a tokenizer is tried with: prompts, and what words of other languages and signs become
    "In: What action should the robot take to pick up the 2 red cubes, slowly?\nOut:",
    "USER: What action should the robot take to put mug #3 on the left-hand shelf? ASSISTANT:",
    f"In: What action should the robot take to {ORDINARY}?\nOut:",
    "put the café's crème brûlée (100 g) next to the 赤い cube - don't drop it!",
)
START = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from {} import main; main(sys.argv[2])"


@dataclass(frozen=True)
class Reading:
    """What transformers makes of a folder; of each part a line instead where it is refused.

    text: TAKEN of its Llama configuration by name; keys: all that such a configuration knows. tokenizer: a
    tokenizer.json; unknown: its token for words it does not know.
    """

    text: dict[str, Any]
    text_refused: str
    keys: tuple[str, ...]
    tokenizer: str
    tokenizer_refused: str
    unknown: str | None


def read(folder: Path) -> Reading:
    """What transformers reads of `folder`; raises CheckpointError where it does not end."""
    try:
        return _begun(*_state(folder)).result()
    except CheckpointError:
        _begun.cache_clear()  # a busy machine may do better the next time
        raise


def begin(folder: Path) -> None:
    """Let `read` of `folder` begin, beside whatever comes before it."""
    _begun(*_state(folder))


def _state(folder: Path) -> tuple[Path, tuple[Any, ...]]:
    """The folder, and what tells whether its files have changed."""
    files = [folder / name for name in (CONFIG, *TOKENIZERS, *BESIDE)]
    return folder.resolve(), tuple((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in files if f.is_file())


@lru_cache(maxsize=16)
def _begun(folder: Path, _seen: tuple[Any, ...]) -> Future[Reading]:
    """The reading of the folder as it is: it happens once."""
    if "transformers" in sys.modules:  # then nothing is gained elsewhere
        done: Future[Reading] = Future()
        done.set_result(here(folder))
        return done
    worker = ThreadPoolExecutor(1, "reading")
    answer = worker.submit(_apart, folder)
    worker.shutdown(wait=False)
    return answer


def _apart(folder: Path) -> Reading:
    """What transformers reads of `folder`, in a process of its own."""
    start = START.format(__name__)
    command = [sys.executable, "-I", "-c", start, json.dumps(sys.path), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise CheckpointError(f"{folder}: its tokenizer was not read within {PATIENCE:.0f} s: is it damaged?") from None
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise CheckpointError(f"{folder}: its tokenizer takes too long to read a prompt: is it damaged?")
    try:
        values = json.loads(done.stdout)
    except ValueError:
        last = next((line for line in reversed(done.stderr.splitlines()) if ERROR.match(line)), "")
        why = last or f"status {done.returncode}: damaged, or more than {MOST_MEMORY / MB:.0f} MB are needed"
        raise CheckpointError(f"{folder}: its configuration and tokenizer cannot be read: {why}") from None
    return Reading(**{**values, "keys": tuple(values["keys"])})


def main(folder: str) -> None:
    """Read `folder` and print the answer; called in a process of its own."""
    sys.modules["torch"] = None  # type: ignore[assignment]  # half of the time to import, and not needed
    from transformers import AutoTokenizer, LlamaConfig, LlamaTokenizer, PreTrainedConfig  # noqa: F401

    _bound(Path(folder))
    answer = here(Path(folder))
    sys.stdout.write(json.dumps(asdict(answer)))


def _bound(folder: Path) -> None:
    """Let this process take no more than `folder` may."""
    words = max((file.stat().st_size for name in TOKENIZERS if (file := folder / name).is_file()), default=0)
    seconds = math.ceil(time.process_time() + MOST_CPU + CPU_PER_MB * min(words, MOST) / MB)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def here(folder: Path) -> Reading:
    """What transformers reads of `folder`, in this process."""
    text, text_refused = _tried(lambda: _text(folder), f"{CONFIG}: text_config is no configuration of a Llama")
    made, refused = _tried(lambda: _tokenizer(folder), f"{folder}: {TOKENIZERS[0]} or {TOKENIZERS[1]} cannot be read")
    values, keys = text or ({}, ())
    tokenizer, unknown = made or ("", None)
    return Reading(values, text_refused, keys, tokenizer, refused, unknown)


def _tried(part: Callable[[], T], otherwise: str) -> tuple[T | None, str]:
    """What `part` gives, or why it gives nothing, in one line."""
    try:
        with library_errors(lambda line: CheckpointError(f"{otherwise}: {line}")):
            return part(), ""
    except CheckpointError as error:
        return None, str(error)


def _text(folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    from transformers import LlamaConfig, PreTrainedConfig

    text = read_json(folder / CONFIG).get("text_config")
    keys = tuple(sorted({*LlamaConfig().to_dict(), *PreTrainedConfig().to_dict()}))
    if not isinstance(text, dict):
        return {}, keys
    # What does not count here may be written as it likes; a key that is null has its default.
    counts = {name: value for name, value in text.items() if value is not None and name in (*TAKEN, *SPELLINGS)}
    known = LlamaConfig(**counts)
    return {name: getattr(known, name) for name in TAKEN}, keys


def check_tokenizer(folder: Path) -> Path:
    """The file of the tokenizer; raises CheckpointError for what is seen to be wrong before a library reads it."""
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
    return file


def _tokenizer(folder: Path) -> tuple[str, str | None]:
    """A tokenizer.json, and the token for unknown words."""
    file = check_tokenizer(folder)
    as_it_stands = file.name == TOKENIZERS[0]
    original: Any = None
    if not as_it_stands:
        from sentencepiece import SentencePieceProcessor

        try:
            original = SentencePieceProcessor(model_file=str(file))  # says what is wrong; transformers goes on
        except RuntimeError as error:
            raise CheckpointError(f"{file} is no tokenizer: {one_line(error)}") from None
    from transformers import AutoTokenizer, PreTrainedConfig, logging

    config: Any = PreTrainedConfig()
    config.tokenizer_class = GENERIC if as_it_stands else SENTENCEPIECE  # unless tokenizer_config.json names another
    said = {} if as_it_stands else {"add_bos_token": True}
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what is wrong is told in one line, by us
    try:
        loaded = AutoTokenizer.from_pretrained(
            folder, config=config, local_files_only=True, trust_remote_code=False, **said
        )
    finally:
        logging.set_verbosity(verbosity)
    for text in PROBES:  # what hangs or takes all memory does so here
        ids = loaded(text)["input_ids"]
        if original is not None and ids[1:] != original.encode(text):
            raise CheckpointError(
                f"{file} is read otherwise by transformers than by SentencePiece (a model of type unigram, or one that "
                f"normalizes?): convert it to a {TOKENIZERS[0]}"
            )
        if (count := len(ids)) > MOST_IDS:
            raise CheckpointError(
                f"{file} turns {len(text)} letters into {count} ids: at most {MOST_IDS} are expected: is its "
                "normalizer damaged?"
            )
    return loaded.backend_tokenizer.to_str(), loaded.unk_token


def _growth(step: Any) -> float:
    """How many times as long a normalizer may make a text, 2^64 at most."""
    if not isinstance(step, dict):
        return 1.0
    if isinstance(steps := step.get("normalizers"), list):
        return min(2.0**64, math.prod(min(2.0**64, _growth(one)) for one in steps))
    pattern, content = step.get("pattern"), step.get("content")
    if not isinstance(pattern, dict) or not isinstance(content, str):
        return 1.0
    return max(1.0, len(content) / max(1, len(str(pattern.get("String", " ")))))


def _check_told(told: Mapping[str, Any], folder: Path) -> None:
    """Raise CheckpointError for what the files beside a tokenizer say that is not done here."""
    code = told.get("auto_map") or {}
    if not isinstance(code, dict) or "AutoTokenizer" in code:
        raise CheckpointError(f"{folder / BESIDE[0]} names a tokenizer of the folder's own code, which is not run here")
    kind = told.get("tokenizer_class")
    if kind is not None and not isinstance(kind, str):
        raise CheckpointError(f"{folder / BESIDE[0]}: tokenizer_class {shown(kind)}: expected its name, as {GENERIC}")
    for name, needed in (("add_bos_token", True), ("add_eos_token", False)):
        if told.get(name) not in (None, needed):
            said = f"{name} {shown(told[name])} is not supported: valid is {str(needed).lower()}"
            raise CheckpointError(f"{folder / BESIDE[0]}: {said}")


def _check_model(file: Path) -> None:
    """Raise CheckpointError for a vocabulary of ids that are none, for ids that would be random, for endless texts."""
    content = read_json(file, MOST)
    if (growth := _growth(content.get("normalizer"))) > MOST_GROWTH:
        raise CheckpointError(f"{file}: its normalizer makes a text up to {growth:.0f} times as long: is it damaged?")
    model = content.get("model")
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
