"""Episodes spread over processes: the same outcomes whoever runs them, and none twice."""

from __future__ import annotations

import atexit
import json
import random
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from distributed import LocalCluster

from vla_entropy_ros.evaluation import campaign
from vla_entropy_ros.evaluation.campaign import Ledger, Scene, run_scene, spread
from vla_entropy_ros.evaluation.configurations import named
from vla_entropy_ros.evaluation.disturbances import disturbances
from vla_entropy_ros.evaluation.errors import RunError
from vla_entropy_ros.evaluation.outcomes import Outcome
from vla_entropy_ros.evaluation.plan import scenes
from vla_entropy_ros.evaluation.suite import Evaluation, run_evaluation
from vla_entropy_ros.sim import TASKS, family_tasks

SEED = 1_000_000_000


@pytest.fixture
def few(checkpoint: Path) -> list[Scene]:
    configurations = tuple(named(["full", "info_entropy"], "default", 16))
    tasks = [family_tasks(family)[0] for family in ("pick", "push")]
    return [Scene(task, seed, configurations, str(checkpoint), 0.5) for task, seed in scenes(tasks, 2, SEED)]


def told(outcomes: list[Outcome]) -> set[tuple[object, ...]]:
    """What must not depend on the process that ran an episode."""
    return {(o.configuration, *o.scene, o.success, o.ticks, o.fresh_share, o.age_max, o.jerk) for o in outcomes}


def test_every_family_gets_the_same_number_of_episodes() -> None:
    planned = scenes(list(TASKS), 6, 100)
    assert [TASKS[task].family for task, _ in planned[:4]] == ["pick", "put", "push", "long"]
    assert len(planned) == len(set(planned)) == 24
    assert {task for task, _ in planned if task.startswith("pick")} == set(family_tasks("pick"))


def test_processes_change_nothing_but_the_time(few: list[Scene]) -> None:
    alone = [o for scene in few for o in run_scene(scene)]
    together = [o for outcomes in spread(few, processes=2) for o in outcomes]
    assert len(alone) == 8
    assert told(alone) == told(together)


def test_a_process_that_is_slow_to_end_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "end"

    def end() -> None:
        time.sleep(5)  # Dask waits for 4
        file.write_text("ended")

    def linger() -> None:
        atexit.register(end)

    with campaign._client(1, None) as client:
        client.submit(linger).result(60)
    assert file.read_text() == "ended"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "localhost", "foo://x", ""])
def test_no_scheduler_is_a_line(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(campaign, "PATIENCE", 1)
    with pytest.raises(RunError, match=f"no Dask scheduler at {re.escape(address)}: .*expected tcp://host:port"):
        list(spread([], 1, cluster=address))


def test_a_scheduler_without_workers_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "PATIENCE", 2)
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as local,
        pytest.raises(RunError, match="has no worker: start dask worker tcp://"),
    ):
        list(spread([], 1, cluster=local.scheduler_address))


def test_every_thread_has_an_arm_of_its_own(few: list[Scene]) -> None:
    alone = [o for scene in few for o in run_scene(scene)]
    with ThreadPoolExecutor(2) as threads:
        together = [o for outcomes in threads.map(run_scene, few) for o in outcomes]
    assert told(alone) == told(together)


def test_a_stopped_run_goes_on_with_what_is_missing(few: list[Scene], tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, {"policy": "a"})
    ledger.add(run_scene(few[0]))
    ledger.add(run_scene(few[1])[:1])
    file = tmp_path / "episodes.jsonl"
    file.write_text(file.read_text() + json.dumps({"configuration": "full"})[:9])  # a kill cut this line short
    again = Ledger(tmp_path, {"policy": "a"})
    assert told(again.outcomes) == told(ledger.outcomes)
    missing = again.missing(few)
    assert [len(scene.configurations) for scene in missing] == [1, 2, 2]
    assert missing[0].task == few[1].task
    again.add(run_scene(missing[0]))
    assert len(Ledger(tmp_path, {"policy": "a"}).outcomes) == 4


def test_each_disturbance_is_a_round_of_its_own_over_the_same_scenes(checkpoint: Path, tmp_path: Path) -> None:
    configurations = tuple(named(["full", "info_entropy"], "default", 16))
    asked = disturbances(["noise=6", "flicker"])
    plan = Evaluation(configurations, ("pick_red",), 1, SEED, checkpoint, 0.3, disturbances=asked)
    assert [scene.conditions for scene in plan.planned] == [(None, None), ("noise=6", None), ("flicker=0.1", None)]
    ledger = Ledger(tmp_path, plan.identity())
    ledger.add(run_scene(plan.planned[1]))
    missing = Ledger(tmp_path, plan.identity()).missing(plan.planned)
    assert [scene.conditions for scene in missing] == [(None, None), ("flicker=0.1", None)]
    heard: list[Outcome] = []
    outcomes = run_evaluation(plan, tmp_path, 1, None, None, heard.extend)
    assert [(o.disturbance, o.configuration) for o in outcomes] == [
        (label, name) for label in (None, "noise=6", "flicker=0.1") for name in ("full", "info_entropy")
    ]
    assert len(heard) == plan.total == 6
    assert len({o.scene for o in outcomes}) == 1


def test_a_folder_of_other_disturbances_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    configurations = tuple(named(["full"], "default", 16))

    def identity(*asked: str) -> dict[str, object]:
        plan = Evaluation(configurations, ("pick_red",), 1, SEED, checkpoint, disturbances=disturbances(asked))
        return plan.identity()

    assert "disturbances" not in identity()
    assert identity("noise=6", "jpeg") == identity("jpeg", "noise=6")
    Ledger(tmp_path, identity("noise=6"))
    for other in ((), ("noise=7",), ("noise=6", "jpeg")):
        with pytest.raises(RunError, match="a run with other disturbances: choose another --output"):
            Ledger(tmp_path, identity(*other))
    Ledger(tmp_path, identity("noise=6"))


def test_lines_of_another_version_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "episodes.jsonl").write_text(json.dumps({"configuration": "full", "colour": "red"}) + "\n")
    with pytest.raises(
        RunError, match=r"unknown keys colour; missing keys age_max, .*: choose another --output"
    ) as said:
        Ledger(tmp_path, {"policy": "a"})
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff"])
def test_a_plan_that_is_none_is_a_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.json").write_text(content, encoding="latin-1")
    with pytest.raises(RunError, match=r"plan.json is no plan of a run.*: choose another --output"):
        Ledger(tmp_path, {"policy": "a"})


def test_an_outcome_that_is_there_twice_counts_once(few: list[Scene], tmp_path: Path) -> None:
    Ledger(tmp_path, {}).add(run_scene(few[0]))
    file = tmp_path / "episodes.jsonl"
    file.write_text(2 * file.read_text())
    assert len(Ledger(tmp_path, {}).outcomes) == 2


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path, {"policy": "a", "limit": 1})
    with pytest.raises(RunError, match=r"a run with other policy: choose another --output"):
        Ledger(tmp_path, {"policy": "b", "limit": 1})


def test_a_configuration_may_join_a_run_and_may_not_change(tmp_path: Path) -> None:
    one, both = {"full": {"k1": 1}}, {"full": {"k1": 1}, "default": {"k1": 2}}
    for settings in (one, both, one):
        Ledger(tmp_path, {"policy": "a", "settings": settings})
    assert json.loads((tmp_path / "plan.json").read_text())["settings"] == both
    with pytest.raises(RunError, match=r"a run with other settings: choose another --output"):
        Ledger(tmp_path, {"policy": "a", "settings": {"default": {"k1": 3}}})


def test_a_run_that_was_killed_ends_with_the_same_tables(checkpoint: Path, tmp_path: Path) -> None:
    asked = [
        "evaluate", "--checkpoint", str(checkpoint), "--suite", "pick", "--suite", "long", "--episodes", "2",
        "--limit", "1.0", "--mode", "full", "--mode", "default", "--disturbance", "noise",
        "--live", "--latency", "67+175", "--processes", "1",
    ]  # fmt: skip
    total = 2 * 2 * 2 * 3

    def started(folder: str) -> subprocess.Popen[bytes]:
        call = "import sys; from vla_entropy_ros.cli import main; main(sys.argv[1:])"
        return subprocess.Popen([sys.executable, "-c", call, *asked, "--output", str(tmp_path / folder)])

    def lines() -> int:
        file = tmp_path / "killed" / "episodes.jsonl"
        return len(file.read_text().splitlines()) if file.exists() else 0

    whole, killed = started("whole"), started("killed")
    at, end = random.randrange(1, total - 1), time.monotonic() + 240.0
    while lines() < at and time.monotonic() < end:
        time.sleep(0.005)
    killed.kill()
    killed.wait()
    assert at <= lines() < total
    assert started("killed").wait(240.0) == whole.wait(240.0) == 0
    assert lines() == total
    tables = [(tmp_path / folder / "outcomes.md").read_bytes() for folder in ("whole", "killed")]
    assert tables[0] == tables[1]
    assert tables[0].count(b"live 67+175 ms") > 2
