"""The peer: transformers' own decoding of the same weights over the same images."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vla_entropy_ros.bench.configurations import BASELINE, PEER, configurations
from vla_entropy_ros.bench.generate import Generate, can_generate
from vla_entropy_ros.bench.measure import CostShape, measure, summarise
from vla_entropy_ros.bench.recording import Recording
from vla_entropy_ros.engine import ActionError, Policy
from vla_entropy_ros.engine.actions.token_head import TokenHead


@pytest.fixture(scope="module")
def peer(policy: Policy) -> Generate:
    return Generate(policy)


def test_the_peer_takes_turns_and_says_what_full_recomputation_says(
    policy: Policy, peer: Generate, recordings: list[Recording], changing: Recording
) -> None:
    turns: list[None] = []
    planned = configurations(policy.info.visual_tokens)[:2]
    runs = measure(policy, [*recordings, changing], planned, lambda: turns.append(None), peer)
    base, mine, drafted = summarise(runs, CostShape.of(policy))
    assert [base["name"], mine["name"], drafted["name"]] == [BASELINE, PEER, planned[1].name]
    assert len(turns) == 9
    assert (mine["equal_share"], mine["faults"], mine["ticks"]) == (1.0, 0, 2 * len(changing) + len(recordings[1]))
    assert set(mine["deviation"].values()) == {0.0}
    assert (mine["passes"], mine["fresh_share"], mine["age_max"]) == (7.0, 1.0, 0)
    assert runs[1].samples[0].decoder_rows == (1 + 256 + runs[0].samples[0].text_rows, 1, 1, 1, 1, 1, 1)
    assert mine["true_gflops"] == pytest.approx(base["true_gflops"], rel=0.01)  # it computes BOS in every tick
    assert mine["openvla_7b"] == base["openvla_7b"]
    assert mine["speedup_over_generate"] == base["speedup"] == 1.0
    assert mine["speedup"] * base["speedup_over_generate"] == pytest.approx(1.0, abs=0.01)


def test_without_the_peer_nothing_is_compared_with_it(policy: Policy, recordings: list[Recording]) -> None:
    runs = measure(policy, recordings[:1], configurations(policy.info.visual_tokens)[:1])
    assert [record["speedup_over_generate"] for record in summarise(runs, CostShape.of(policy))] == [None]


def test_no_weight_is_stored_twice(policy: Policy, peer: Generate) -> None:
    ours = dict(policy.model.network.language_model.named_parameters())
    its = dict(peer._llama.named_parameters())
    assert set(its) == set(ours)
    assert {name for name in ours if its[name].data_ptr() != ours[name].data_ptr()} == set()
    assert not any(parameter.requires_grad for parameter in its.values())
    assert not any(tensor.is_meta for tensor in peer._llama.state_dict().values())


def test_every_stage_of_the_peer_is_timed(peer: Generate, changing: Recording) -> None:
    timings = peer.tick(next(changing.observations())).timings
    parts = (timings.preprocess, timings.vision, timings.prefill, timings.decode)
    assert min(parts) > 0
    assert sum(parts) <= timings.total
    assert not peer._llama._forward_hooks


def test_an_end_before_the_last_token_is_no_action(policy: Policy, recordings: list[Recording]) -> None:
    peer, observation = Generate(policy), next(recordings[0].observations())
    tokens = peer.tick(observation).tokens
    peer._llama.generation_config.eos_token_id = tokens[2]
    told = f"7 action tokens are needed, the end token came after {tokens.index(tokens[2]) + 1}$"
    with pytest.raises(ActionError, match=told):
        peer.sample(observation, 0)


def test_tokens_that_are_no_actions_are_a_fault_of_the_run(
    policy: Policy, peer: Generate, recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    observation = next(recordings[0].observations())
    assert isinstance(policy.model.head, TokenHead)
    space = policy.model.head.space
    monkeypatch.setattr(space, "first_id", space.last_id)
    with pytest.raises(ActionError, match="which are no actions"):
        peer.sample(observation, 0)


def test_only_causal_policies_of_tokens_can_be_run_so(
    policy: Policy, checkpoint: Path, toy: Path, toy_family: None
) -> None:
    assert can_generate(policy)
    assert not can_generate(Policy.load(toy))
    assert not can_generate(Policy.load(checkpoint, quantisation="int8"))


def test_a_decoder_of_another_rotary_base_is_run_with_that_base(
    checkpoint: Path, recordings: list[Recording], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "other_base")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["rope_theta"] = 20.0
    (folder / "config.json").write_text(json.dumps(config))
    said = []
    for chosen in (checkpoint, folder):
        policy = Policy.load(chosen)
        peer, observation = Generate(policy), next(recordings[0].observations())
        policy.set_tunables(replace(policy.tunables, mode="full", drafts="off"))
        said.append(peer.tick(observation).tokens)
        assert said[-1] == tuple(policy.infer(observation).tokens.tolist())
    assert said[0] != said[1]


def test_the_benchmark_imports_transformers_where_it_runs_it_and_no_earlier() -> None:
    modules = ("bench.generate", "bench.measure", "bench.gpu.command", "cli.bench", "engine", "nodes.policy.node")
    code = "import sys\n" + "".join(f"import vla_entropy_ros.{name}\n" for name in modules)
    code += "assert 'transformers' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
