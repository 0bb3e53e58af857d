"""Kinds of peers: what one that cannot be had lacks, in a line; and those that can be had say the same."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vla_entropy_ros.bench.generate import Generate
from vla_entropy_ros.bench.peers import kinds
from vla_entropy_ros.bench.peers.stepwise import PeerError, flushed
from vla_entropy_ros.bench.recording import Recording
from vla_entropy_ros.engine import Policy
from vla_entropy_ros.resources import default_checkpoint

BY_NAME = {kind.name: kind for kind in kinds.KINDS}
ONNX, OPENVINO, COMPILE = "ONNX Runtime float32", "OpenVINO float32", "torch.compile of transformers"
TOLD = ["pick up the red cube", "put the red cube on the plate"]


@pytest.mark.parametrize(
    ("name", "modules", "told"),
    [
        (ONNX, ("onnx",), "onnx is not installed: make peers, or pip install onnx onnxruntime"),
        (ONNX, ("onnxruntime",), "onnxruntime is not installed: make peers, or pip install onnx onnxruntime"),
        (OPENVINO, ("openvino",), "openvino is not installed: make peers, or pip install openvino"),
        ("OpenVINO bfloat16", ("openvino",), "openvino is not installed: make peers, or pip install openvino"),
    ],
)
def test_a_package_that_is_missing_is_a_line(
    name: str, modules: tuple[str, ...], told: str, tiny: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("onnx", "onnxruntime", "openvino"):
        absent = None if module in modules else type(sys)(module)
        monkeypatch.setitem(sys.modules, module, absent)
    assert kinds.prepare(BY_NAME[name], tiny, TOLD, 1) == kinds.Missing(name, told)


def test_without_a_compiler_nothing_is_compiled(tiny: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    made = kinds.prepare(BY_NAME[COMPILE], tiny, TOLD, 1)
    assert isinstance(made, kinds.Missing)
    assert made.why.startswith("there is no C++ compiler no-such-compiler, which torch.compile needs: apt-get install")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (RuntimeError("\n  the exporter failed\nat length"), "RuntimeError: the exporter failed"),
        (ValueError(), "ValueError: no more is told"),
        (KeyError("x" * 999), f"KeyError: '{'x' * 199}"),
        (PeerError("say this"), "say this"),
    ],
)
def test_whatever_goes_wrong_in_a_peer_is_a_line(error: Exception, why: str, tiny: Policy) -> None:
    def make(*_: object) -> Generate:
        raise error

    assert kinds.prepare(kinds.Kind("peer", make), tiny, TOLD, 1) == kinds.Missing("peer", why)


def test_on_a_gpu_no_peer_is_compared(tiny: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    there = replace(tiny.model.where, device=torch.device("cuda"))
    monkeypatch.setattr(tiny, "model", replace(tiny.model, where=there))
    assert (kinds.refusal(tiny) or "").startswith("--peers compares on a CPU")


@pytest.mark.parametrize(("name", "module"), [(ONNX, "onnxruntime"), (OPENVINO, "openvino")])
def test_an_exported_network_says_what_full_recomputation_says(
    name: str, module: str, checkpoint: Path, recordings: list[Recording]
) -> None:
    pytest.importorskip(module, reason=f"{module} is not installed: make peers")
    for one in (Policy.load(checkpoint), Policy.load(default_checkpoint())):
        one.set_tunables(replace(one.tunables, mode="full", drafts="off"))
        prepared = kinds.prepare(BY_NAME[name], one, TOLD, 3)
        assert isinstance(prepared, kinds.Prepared), prepared
        for told in TOLD:
            for observation in replace(recordings[0], instructions=(told,) * len(recordings[0])).observations():
                with flushed():
                    made = prepared.peer.tick(observation)
                assert made.tokens == tuple(one.infer(observation).tokens.tolist())
                assert made.timings.prefill > 0
