"""The device's benchmark, run whole at a tiny shape on the CPU; nothing here depends on how fast anything is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from vla_entropy_ros.bench.generate import Generate
from vla_entropy_ros.bench.gpu import roofline, rows, run, shapes
from vla_entropy_ros.bench.gpu.replay import chance_match, expected_passes, measured_passes, share_of
from vla_entropy_ros.bench.gpu.shapes import find_shape, moving, random_policy
from vla_entropy_ros.cli import main
from vla_entropy_ros.cli.bench import bench as bench_command
from vla_entropy_ros.engine import DeviceError, Policy
from vla_entropy_ros.engine.device import Placement
from vla_entropy_ros.engine.model import checkpoint
from vla_entropy_ros.engine.model.network import Network
from vla_entropy_ros.resources import default_checkpoint, share_path

CPU, TINY = torch.device("cpu"), shapes.TINY


def test_the_command_runs_every_row_and_writes_json_and_picture(tmp_path: Path) -> None:
    chosen = ["--device", "cpu", "--shape", "tiny", "--ticks", "4", "--warm-up", "2", "--passes", "3"]
    result = CliRunner().invoke(main, ["bench", *chosen, "--output", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert json.loads(result.stdout) == content
    for picture in ("gpu.png", "gpu-rows.png"):
        assert (tmp_path / picture).stat().st_size > 10_000
    found = content["rows"]
    assert list(found) == [row.name for row in rows.ROWS]
    assert all(f"{name}: " in result.stderr for name in found)
    assert {row["ticks"] for row in found.values()} == {4}
    assert [found[name]["passes"] for name in (rows.BASELINE, rows.STATIC, rows.ONE_PASS)] == [7.0, 7.0, 1.0]
    assert found["fp8: one pass"]["passes"] == 1.0
    assert found[rows.STATIC]["fresh_share"] == 1.0 > found["+ partial prefill"]["fresh_share"]
    assert found["+ partial prefill"]["age_mean"] > 0.0
    assert 1.0 < found["+ drafts"]["passes"] < 7.0
    for name, row in found.items():
        assert row["latency_ms"]["max"] >= row["latency_ms"]["p95"] >= row["latency_ms"]["p50"] > 0
        assert row["period_ms"]["mean"] >= row["latency_ms"]["mean"]
        assert row["hz"] == pytest.approx(1e3 / row["period_ms"]["mean"], abs=0.06)
        assert row["equal_tokens"] == 1.0
        # fp8 rounds a value near the middle of two the other way for any difference at all
        assert row["logit_error"] is None or row["logit_error"] < (1e-2 if name.startswith(rows.FP8) else 1e-5)
    assert content["one_pass_floor_ms"]["none"]["total"] > content["one_pass_floor_ms"]["none"]["decoder"] > 0
    assert (content["complete"], content["failed"]) == (True, {})
    assert content["drafts"]["expected_passes"] == pytest.approx(3.0, abs=1e-3)
    assert "random" in content["note"]
    assert content["ratios"]["one pass / roofline"] > 0
    assert content["ratios"]["fp8: one pass / roofline"] > 0
    assert content["about"]["nvidia_smi"] is None
    for quantisation in ("none", "fp8", "int8"):
        assert list(content["parts_us"][quantisation]) == ["qkv", "out", "gate_up", "down", "attention"]
        for by_rows in content["parts_us"][quantisation].values():
            assert list(by_rows) == ["1", "16", "64", "128"]
            assert all(value > 0 for figures in by_rows.values() for value in figures.values())
            assert all("modules_us" in figures for figures in by_rows.values())
    made = content["parts_us"]["none"]["out"]["128"]
    operations, read = 2 * 128 * TINY.llama.hidden_size**2, 4 * TINY.llama.hidden_size**2
    assert made["modules_tflop_s"] == pytest.approx(operations / made["modules_us"] / 1e6, rel=0.01)
    assert made["modules_gb_s"] == pytest.approx(read / made["modules_us"] / 1e3, rel=0.01)


def test_the_command_refuses_what_it_cannot_run_in_one_line(tmp_path: Path) -> None:
    gone = CliRunner().invoke(main, ["bench", "--device", "tpu", "--output", str(tmp_path)])
    assert gone.exit_code == 1
    assert "device 'tpu' is not available: available are auto, cpu" in gone.output
    for passes in ("99", "nan"):
        many = CliRunner().invoke(main, ["bench", "--device", "cpu", "--passes", passes, "--output", str(tmp_path)])
        assert many.exit_code == 1
        assert f"passes {passes}: valid is 1 to 7" in many.output
    unknown = CliRunner().invoke(main, ["bench", "--device", "cpu", "--shape", "13b"])
    assert "'7b', 'small', 'tiny'" in unknown.output


def test_the_baseline_puts_out_the_tokens_of_full_recomputation() -> None:
    policy, _ = random_policy(TINY, Placement(CPU, torch.float32), graphs=True)
    policy.set_tunables(replace(policy.tunables, mode="full", drafts="off"))
    peer = Generate(policy)
    for seen in moving(4):
        made = peer.tick(seen)
        assert made.tokens == tuple(policy.infer(seen).tokens.tolist())
        assert (made.rows, made.text_rows) == (1 + TINY.visual + TINY.prompt, TINY.prompt)


def test_a_moving_scene_moves_a_part_and_leaves_the_rest() -> None:
    one, other = (seen.images[0].astype(float) for seen in list(moving(11))[::10])
    changed = (np.abs(one - other) > 6).any(-1).mean()
    assert 0.005 < changed < 0.2


@pytest.mark.parametrize("passes", [1.0, 2.64, 4.0, 7.0])
def test_replayed_acceptance_gives_the_measured_passes(passes: float) -> None:
    share = share_of(passes)
    assert expected_passes(share) == pytest.approx(passes, abs=1e-6)
    match, random = chance_match(share, seed=1), []
    for _ in range(4000):
        left, count = 7, 0
        while left:
            count += 1
            left -= 1
            while left and match(0, [1, 2]) is not None:
                left -= 1
        random.append(count)
    assert np.mean(random) == pytest.approx(passes, abs=0.1)


def test_passes_come_from_the_projects_own_measurement(tmp_path: Path) -> None:
    assert 1.0 < measured_passes(share_path("docs/bench.json")) < 7.0
    (tmp_path / "bench.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no passes of the configuration 'default'; give --passes"):
        measured_passes(tmp_path / "bench.json")


def test_the_small_shape_is_that_of_the_shipped_policy() -> None:
    shipped, small = Policy.load(default_checkpoint()), find_shape("small")
    network = shipped.model.network
    assert isinstance(network, Network)
    assert small.towers == network.vision_backbone.configs
    assert (small.llama, small.visual) == (network.language_model.config, shipped.info.visual_tokens)
    made, _ = random_policy(small, Placement(CPU, torch.float32))
    assert made.info.parameters == shipped.info.parameters
    assert made.infer(next(moving(1))).tokens.shape == (7,)


def test_the_command_offers_every_shape() -> None:
    (shape,) = (option for option in bench_command.params if option.name == "shape")
    assert list(shape.type.choices) == list(shapes.SHAPES)  # type: ignore[attr-defined]


def test_openvlas_shape_has_its_parameters_and_fits_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = find_shape("7b")
    network = Network.shaped(shape.towers, shape.llama)
    assert sum(p.numel() for p in network.parameters()) / 1e9 == pytest.approx(7.49, abs=0.06)
    assert (shape.visual, network.vision_backbone.width) == (256, 2176)
    needed: list[int] = []

    def refuse(need: int, device: torch.device, instead: object) -> None:
        needed.append(need)
        raise DeviceError("too little")

    monkeypatch.setattr(checkpoint, "check_memory", refuse)
    for quantisation in ("none", "int8"):
        with pytest.raises(DeviceError):
            random_policy(shape, Placement(CPU, torch.bfloat16, quantisation))
    assert needed[0] < 17e9
    assert needed[1] < 10e9


def test_the_least_time_is_the_larger_of_reading_and_computing() -> None:
    line = roofline.Roofline(bandwidth=100.0, rate=10.0)
    assert line.time(1000.0, 20.0) == 10.0
    assert line.time(100.0, 20.0) == 2.0
    measured = roofline.measure_roofline(CPU, torch.float32)
    assert 0 < measured.bandwidth < math.inf
    assert 0 < measured.rate < math.inf


def weights_of(network: Network) -> Sequence[torch.Tensor]:
    return [tensor for name, tensor in network.state_dict().items() if not name.endswith("scale")]


def test_both_widths_are_made_of_the_same_weights() -> None:
    _, plain = random_policy(TINY, Placement(CPU, torch.float32))
    _, eight = random_policy(TINY, Placement(CPU, torch.float32, "int8"))
    for one, other in zip(weights_of(plain), weights_of(eight), strict=True):
        if other.dtype == torch.int8:
            scale = one.abs().amax(1, keepdim=True) / 127
            torch.testing.assert_close(other * scale, one, rtol=0, atol=float(scale.max()) * 0.51)
        else:
            torch.testing.assert_close(other, one)
    vision, decoder = run.weights(eight)
    assert vision > 0
    assert decoder < run.weights(plain)[1]
