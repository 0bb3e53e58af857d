"""Is a change numerically neutral? Replays recorded ticks of the shipped policy and prints one hash of what they did.

    python -m tools.neutral                  # a hash per configuration, and one of all
    python -m tools.neutral --base HEAD~3    # the same for that commit, side by side; exit status 1 where they differ

What is hashed of every tick: tokens, actions, fresh set, ages, budgets, passes and their rows, drafts, reason. Hashes
are comparable on one machine only: another processor may sum in another order.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vla_entropy_ros.bags.bag import Bag
from vla_entropy_ros.engine import DeviceError, Observation, Policy, Result, Tunables
from vla_entropy_ros.engine.tunables import DEFAULT_TOKENS
from vla_entropy_ros.evaluation.configurations import preset
from vla_entropy_ros.resources import default_checkpoint, share_path

ROOT = Path(__file__).resolve().parent.parent
PERIOD = 0.1  # seconds
INSTRUCTIONS = ("pick up the red cube", "put the red cube on the plate")
OTHER_WORDS, GAP, OTHER_SIZE = 14, 27, 35  # ticks at which the instruction, the time and the size of the image jump


def observations() -> list[Observation]:
    """The shipped bag's images, with an instruction that changes, a gap in time and an image of another size."""
    with Bag(share_path("bags/pick_red")) as bag:
        images = [frame.pixels() for frame in bag.frames()]
    seen = []
    for tick, image in enumerate(images):
        shown = np.repeat(np.repeat(image, 2, 0), 2, 1) if tick >= OTHER_SIZE else image
        stamp = PERIOD * tick + (30.0 if tick >= GAP else 0.0)
        seen.append(Observation((shown,), INSTRUCTIONS[tick >= OTHER_WORDS], stamp))
    return seen


def configurations(tokens: int) -> dict[str, Tunables]:
    """What is replayed: every mode, every kind of decoding, every layer schedule."""
    ours, former, published = Tunables.default(), preset("former", DEFAULT_TOKENS), preset("paper", DEFAULT_TOKENS)
    made = {
        "default": ours,
        "default, tapered": replace(ours, taper_rows=48),
        "default, few rows": replace(ours, k1=8, k2=12, row_budget=48, max_age=10, T=5),
        "full, plain decoding": replace(ours, mode="full", drafts="off"),
        "full, exact drafts": replace(ours, mode="full"),
        "paper": published,
        "paper, exact drafts": replace(published, drafts="exact"),
        "paper, no cap": replace(published, static_top_k=0),
        "former": former,
        "visual_only": replace(former, mode="visual_only"),
        "attention_only, mass-weighted": replace(former, mode="attention_only", mass_weighted=True),
        "static_union, short schedule": replace(former, mode="static_union", T=10, k1=30, k2=50),
        "info_entropy, filled by age": replace(former, mode="info_entropy", T=10, fill_order="age"),
        "growing by layer": replace(published, mode="vla_cache", growth_by_layer=True),
        "bounded drafts": replace(ours, drafts="bounded", draft_tolerance=2),
        "fixed shapes": ours,
        "default, numpy": ours,
        "default, compiled": ours,
    }
    return {name: tunables.in_proportion(tokens, DEFAULT_TOKENS) for name, tunables in made.items()}


def replay(policy: Policy, tunables: Tunables, seen: list[Observation]) -> Iterator[Result]:
    """Results of the ticks; a reset in the middle."""
    policy.set_tunables(tunables)
    policy.reset()
    for tick, observation in enumerate(seen):
        if tick == len(seen) // 2:
            policy.reset()
        yield policy.infer(observation)
        policy.settle()


def record(result: Result) -> list[object]:
    """What must not change."""
    reuse, drafts = result.reuse, result.drafts
    return [
        result.tokens.tolist(), result.actions.round(9).tolist(), np.flatnonzero(reuse.fresh_mask).tolist(),
        reuse.age.tolist(), [reuse.k_vis, reuse.k_attn], result.decoder_passes, list(result.decoder_rows),
        [drafts.tried, drafts.accepted, *drafts.sources], reuse.reason, result.tick,
    ]  # fmt: skip


def hashes() -> dict[str, str]:
    """Hash by configuration."""
    torch.set_num_threads(1)
    seen, made = observations(), {}
    eager = Policy.load(default_checkpoint(), backend="torch")
    others = {"fixed shapes": Policy.load(default_checkpoint(), graphs=True), **backends()}
    for name, tunables in configurations(eager.info.visual_tokens).items():
        policy = others.get(name, eager)
        records = [record(result) for result in replay(policy, tunables, seen)]
        made[name] = hashlib.sha256(json.dumps(records).encode()).hexdigest()[:16]
    return made


def backends() -> dict[str, Policy]:
    """A policy for each backend that is here, beside PyTorch, by the name of what is replayed with it."""
    found = {}
    for backend in ("numpy", "compiled"):
        with contextlib.suppress(DeviceError):  # nothing was built
            found[f"default, {backend}"] = Policy.load(default_checkpoint(), backend=backend)
    return found


def of_commit(revision: str) -> dict[str, str]:
    """The hashes of another commit of this checkout, by its own copy of this tool."""
    with tempfile.TemporaryDirectory() as folder:
        git = ["git", "-C", str(ROOT), "worktree"]
        added = subprocess.run([*git, "add", "--detach", "--quiet", folder, revision], check=False)
        if added.returncode:  # git has said why
            raise SystemExit(f"--base {revision}: valid is a commit of this repository")
        try:
            # its own compiled stack, if it has one
            build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
            subprocess.run(build, cwd=folder, check=False, capture_output=True)
            command = [sys.executable, "-m", "tools.neutral", "--json"]
            done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
        finally:
            subprocess.run([*git, "remove", "--force", folder], check=False)
    return dict(json.loads(done.stdout))


def whole(made: dict[str, str]) -> str:
    """One hash of all."""
    return hashlib.sha256(json.dumps(sorted(made.items())).encode()).hexdigest()[:16]


def main() -> int:
    """Print the hashes; 1 where they differ from those of the base."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", metavar="REV", help="commit to compare with")
    parser.add_argument("--json", action="store_true", help="print the hashes as JSON")
    options = parser.parse_args()
    base = of_commit(options.base) if options.base else {}
    made = hashes()
    if options.json:
        print(json.dumps(made))
        return 0
    for name in [*made, *(name for name in base if name not in made)]:
        before, now = base.get(name, "-"), made.get(name, "-")
        print(f"{now:16}  {before + '  ' + ('same' if before == now else 'DIFFERS') + '  ' if base else ''}{name}")
    print(f"{whole(made)}  all" + (f"; {options.base}: {whole(base)}" if base else ""))
    return int(bool(base) and base != made)


if __name__ == "__main__":
    sys.exit(main())
