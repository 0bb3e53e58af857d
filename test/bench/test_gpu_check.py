"""The device's benchmark fails where its graphs do not compute, and keeps what it has; all on the CPU, uncaptured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from vla_entropy_ros.bags.bag import Bag
from vla_entropy_ros.bench.gpu import across, check, command, launches, machine, passes, rows, run, shapes, trained
from vla_entropy_ros.bench.gpu.check import BenchmarkError, States, Twin
from vla_entropy_ros.bench.gpu.shapes import TINY, moving, random_model
from vla_entropy_ros.cli import main
from vla_entropy_ros.engine import Observation, Policy
from vla_entropy_ros.engine.decoding import cuda_graphs
from vla_entropy_ros.engine.device import Placement
from vla_entropy_ros.resources import default_checkpoint, share_path

CPU = torch.device("cpu")
COMMAND = ["bench", "--device", "cpu", "--shape", "tiny", "--ticks", "2", "--warm-up", "1", "--passes", "3"]
STAGES = ("_embed_all", "prefill", "extension", "_probe")


def made(dtype: torch.dtype = torch.float32, quantisation: str = "none") -> tuple[Policy, States]:
    model, _ = random_model(TINY, Placement(CPU, dtype, quantisation))
    states = States(model)
    return Policy(model, graphs=True), states


def found(policy: Policy, states: States, **changes: Any) -> check.Agreement:
    tunables = replace(run.defaults(policy), **changes)
    return check.compare(policy, states, Twin(policy.model), list(moving(4)), tunables)


def dead_graphs(stage: str) -> Callable[[Any, Callable[[], None], Any], None]:
    """In place of Graph's constructor: those of one stage compute nothing, as if captured on another stream."""

    def begin(graph: Any, body: Callable[[], None], pool: Any) -> None:
        name = body.__qualname__
        keep = bool(body.__closure__) and any(cell.cell_contents is True for cell in body.__closure__ or ())
        kind = "prefill" if keep else "extension"
        dead = kind == stage if "_pass" in name else stage in name
        graph._run = (lambda: None) if dead else body

    return begin


@pytest.mark.parametrize("stage", STAGES)
def test_graphs_that_compute_nothing_are_found(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs.Graph, "__init__", dead_graphs(stage))
    policy, states = made()
    with pytest.raises(BenchmarkError, match=r"nothing is computed|has no action"):
        found(policy, states, drafts="off")


@pytest.mark.parametrize("stage", ["rank", "_fill_plan"])
def test_tokens_that_the_device_did_not_choose_are_found(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = Placement(CPU, torch.float32)
    for dead in (False, True):
        if dead:
            monkeypatch.setattr(cuda_graphs.Graph, "__init__", dead_graphs(stage))
        policy, states = made()
        assert policy.runner.chooses
        scene = list(moving(4))
        figures = check.compare(policy, states, Twin(policy.model), scene, run.defaults(policy)).figures()
        assert bool(check.wrong(figures, where)) is dead


def test_the_command_fails_where_graphs_compute_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs.Graph, "__init__", dead_graphs("_probe"))
    monkeypatch.setattr(run.Plan.__init__, "__defaults__", (rows.ROWS[:2],))
    result = CliRunner().invoke(main, [*COMMAND, "--output", str(tmp_path)])
    assert result.exit_code == 1
    assert "Error: not what an eager policy computes: static cache, graphs: nothing is computed" in result.stderr
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert (content["complete"], list(content["rows"])) == (False, [rows.BASELINE])
    assert list(content["failed"]) == [rows.STATIC]


def test_a_capture_that_fails_stops_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("operation not permitted")

    monkeypatch.setattr(cuda_graphs, "Graph", refuse)
    result = CliRunner().invoke(main, [*COMMAND, "--output", str(tmp_path)])
    assert result.exit_code == 1
    assert "its graphs were not captured" in result.stderr
    assert json.loads((tmp_path / "gpu.json").read_text())["rows"] == {}


@pytest.mark.parametrize("quantisation", ["none", "int8"])
def test_a_wrong_weight_is_beyond_rounding(quantisation: str) -> None:
    policy, states = made(torch.bfloat16, quantisation)
    twin = random_model(TINY, Placement(CPU, torch.bfloat16, quantisation))
    with torch.no_grad():
        twin[1].get_parameter("language_model.model.layers.1.mlp.down_proj.weight").zero_()
    tunables, scene = run.defaults(policy), list(moving(3))
    right = check.compare(policy, states, Twin(policy.model), scene, tunables)
    assert check.wrong(right.figures(), policy.model.where) is None
    wrong = check.compare(policy, states, Twin(twin[0]), scene, tunables)
    assert "logit_error" in str(check.wrong(wrong.figures(), policy.model.where))


@pytest.mark.parametrize("dead", [False, True])
def test_a_device_is_compared_with_the_cpu(dead: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if dead:
        monkeypatch.setattr(cuda_graphs.Graph, "__init__", dead_graphs("prefill"))
    monkeypatch.setattr("sys.argv", ["across", "--device", "cpu", "--output", str(tmp_path)])
    assert across.main() == int(dead)
    found = json.loads((tmp_path / "check.json").read_text())
    assert list(found) == ["none", "int8", "fp8"]
    assert all(("failed" in figures) is dead for figures in found.values())
    assert dead or all(figures["equal_tokens"] == 1.0 for figures in found.values())


def test_second_looks_of_the_small_policy_are_those_of_its_dtype() -> None:
    wide, narrow = (trained.second_looks(CPU, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert wide["images"] == 40
    assert wide["equal_tokens"] == 1.0
    assert narrow["equal_tokens"] > 0.95  # keys of another tick were computed beside another number of rows
    assert wide["passes"] == wide["passes_without_second_looks"]
    policy = Policy.load(default_checkpoint(), dtype="bfloat16")
    passes = [policy.infer(seen).decoder_passes for seen in observations_of_the_bag()]
    assert narrow["passes"] == pytest.approx(np.mean(passes), abs=1e-4)
    assert narrow["passes_without_second_looks"] <= narrow["passes"]


def observations_of_the_bag() -> list[Observation]:
    with Bag(share_path(trained.BAG)) as bag:
        return [Observation((frame.pixels(),), shapes.INSTRUCTION, 0.1 * n) for n, frame in enumerate(bag.frames())]


def test_ticks_in_bfloat16_follow_a_users_rules_and_hardly_ever_look_twice(tmp_path: Path) -> None:
    content = command.measure_device(Console(quiet=True), tmp_path, "cpu", "tiny", 40, 2, 2.5, "bfloat16")
    for name, row in content["rows"].items():
        if name != rows.BASELINE:
            assert 0 < row["draft_margin"] < 1
            assert row["near_ties"] < 0.02, name
            most = check.IN_FP8 if name.startswith(rows.FP8) else check.TOLERANCE[torch.bfloat16]
            assert 0 <= row["logit_error"] < most
    assert content["rows"][rows.ONE_PASS]["passes"] == pytest.approx(1.0, abs=0.1)
    assert content["rows"][rows.OURS]["passes"] == pytest.approx(2.5, abs=0.5)


def test_every_part_is_in_the_file_once_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run.Bench, "_checked", lambda *_: {"equal_tokens": 1.0, "logit_error": 0.0})
    seen: list[dict[str, Any]] = []
    timed = run.Bench._timed

    def once(*args: Any) -> Any:
        seen.append(json.loads((tmp_path / "gpu.json").read_text()))
        return stop() if len(seen) == 3 else timed(*args)

    monkeypatch.setattr(run.Bench, "_timed", once)
    with pytest.raises(KeyboardInterrupt):
        command.measure_device(Console(quiet=True), tmp_path, "cpu", "tiny", 2, 1, 3.0)
    assert [list(content["rows"]) for content in seen] == [[], [rows.BASELINE], [rows.BASELINE, rows.STATIC]]
    assert not any(content["complete"] for content in seen)
    assert seen[-1]["ratios"] == {}


def test_what_launches_is_counted_and_views_are_not() -> None:
    x = torch.ones(4, 4)
    with launches.Launches() as counted:
        x.view(2, 8).transpose(0, 1)[1:].unbind(0)
        torch.empty(3)
        assert counted.counts.total() == 0
        x.add_(1)
        x @ x
        torch.empty(3).copy_(x[0, :3])
    assert counted.counts.total() == 3
    policy, _ = made()
    stages = launches.stages(policy, next(moving(1)))
    selection = launches.selection(policy, next(moving(1)))
    assert selection is not None
    assert 0 < selection < 40
    assert list(stages) == ["vision", "prefill", "pass", "probe"]
    assert 0 < stages["pass"] <= stages["prefill"]
    assert stages["probe"] < stages["pass"]


def test_a_profile_has_a_line_per_kernel_the_longest_first() -> None:
    policy, _ = made()
    lines = launches.profile(policy, list(moving(2))).splitlines()
    times = [float(line.split()[0]) for line in lines[1:-1]]
    assert times == sorted(times, reverse=True)
    assert len(times) == launches.TOP
    assert float(lines[-1].split()[0]) > sum(times) * 0.99


def test_rows_cost_is_measured_for_every_number_that_fits() -> None:
    policy, states = made()
    costs = passes.costs(policy.model, states, next(moving(1)))
    assert list(costs["prefill"]) == ["16", "32", "64", "96", "112", "128"]  # 16 visual tokens and 128 of text
    assert list(costs["extension"]) == [str(count) for count in passes.EXTENSIONS if count <= policy.model.layout.area]
    assert all(ms > 0 for kind in costs.values() for ms in kind.values())
    assert policy.model.head.extensions != passes.EXTENSIONS  # the policies of the rows keep theirs


def test_nvidia_smi_is_asked_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.nvidia_smi("GPU-1") is None
    tool = tmp_path / "nvidia-smi"
    values = "580.1, 1980 MHz, 2619 MHz, 1980 MHz, 2619 MHz, 650 W, 700 W, 60"
    tool.write_text(f"#!/bin/sh\n[ \"$3\" = --id=GPU-1 ] && echo '{values}'\n")
    tool.chmod(0o755)
    told = machine.nvidia_smi("GPU-1")
    assert told is not None
    assert (told["driver_version"], told["clocks.sm"]) == ("580.1", "1980 MHz")
    assert machine.nvidia_smi("GPU-2") is None


def test_neighbours_with_the_same_weights_and_switches_share_them() -> None:
    table = (
        rows.Row("a"), rows.Row("b", switches={"graphs": True}), rows.Row("c", switches={"graphs": True}),
        rows.Row("d", "int8"),
    )  # fmt: skip
    groups = [(kind, [row.name for row in group]) for kind, group in rows.by_weights(table)]
    assert groups == [("none", ["a", "b", "c"]), ("int8", ["d"])]
    policies = [(switches, [row.name for row in served]) for switches, served in rows.by_policy(list(table[:3]))]
    assert policies == [({}, ["a"]), ({"graphs": True}, ["b", "c"])]
    kinds = [kind for kind, _ in rows.by_weights()]
    assert len(kinds) == len(set(kinds))  # of the table that is measured: nothing is made twice
    assert np.unique([row.name for row in rows.ROWS]).size == len(rows.ROWS)
