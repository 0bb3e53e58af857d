"""One evaluation: configurations times scenes, in this machine's processes, a cluster's, or through ROS topics."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..settings import default_settings
from . import campaign, plots, report
from .about import about
from .configurations import Configuration
from .disturbances import Disturbance
from .outcomes import Outcome, outcome, summary
from .plan import Silent, Trial, scenes
from .timing import Timing


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated; episodes: per family of the tasks; limit: seconds an episode may take, None by family.

    disturbances, timings: each is one more round of all scenes under all configurations, after the one in lock-step in
    which nothing goes wrong.
    """

    configurations: tuple[Configuration, ...]
    tasks: tuple[str, ...]
    episodes: int
    seed: int
    checkpoint: Path
    limit: float | None = None
    ros: bool = False
    disturbances: tuple[Disturbance, ...] = ()
    timings: tuple[Timing, ...] = ()

    @property
    def rounds(self) -> list[tuple[Disturbance | None, Timing | None]]:
        """What goes wrong, and how the world goes on, in each round."""
        return [(None, None), *((each, None) for each in self.disturbances), *((None, each) for each in self.timings)]

    @property
    def planned(self) -> list[campaign.Scene]:
        """All scenes with all configurations; a scene's rounds follow each other."""
        where = str(self.checkpoint.resolve())
        return [
            campaign.Scene(task, seed, self.configurations, where, self.limit, disturbance, timing)
            for task, seed in scenes(self.tasks, self.episodes, self.seed)
            for disturbance, timing in self.rounds
        ]

    @property
    def total(self) -> int:
        """Number of episodes."""
        return sum(len(scene.configurations) for scene in self.planned)

    def identity(self) -> dict[str, Any]:
        """What decides an episode's outcome; a run may go on only under the same."""
        weights = (self.checkpoint / "model.safetensors").read_bytes()
        further: dict[str, tuple[Disturbance | Timing, ...]] = {"disturbances": self.disturbances, "live": self.timings}
        return {
            "policy": hashlib.sha256(weights).hexdigest(),
            campaign.SETTINGS: {c.name: asdict(c.tunables) for c in self.configurations},
            "limit": self.limit,
            "ros": self.ros,
            **{name: sorted(each.label for each in rounds) for name, rounds in further.items() if rounds},
        }


def run_evaluation(
    evaluation: Evaluation,
    folder: Path,
    processes: int,
    cluster: str | None,
    domain: int | None,
    told: Callable[[Sequence[Outcome]], None],
) -> list[Outcome]:
    """Run what `folder` does not hold yet; returns all outcomes. `told` hears of new ones as they come."""
    ledger = campaign.Ledger(folder, evaluation.identity())
    told(ledger.outcomes)
    missing = ledger.missing(evaluation.planned)
    for new in (
        _through_ros(evaluation, missing, domain) if evaluation.ros else campaign.spread(missing, processes, cluster)
    ):
        ledger.add(new)
        told(new)
    wanted = {scene.key(configuration) for scene in evaluation.planned for configuration in scene.configurations}
    order = [c.name for c in evaluation.configurations]
    rounds = list(dict.fromkeys(scene.conditions for scene in evaluation.planned))
    chosen = [o for o in ledger.outcomes if o.key in wanted]
    return sorted(chosen, key=lambda o: (rounds.index(o.conditions), order.index(o.configuration), o.seed, o.task))


def _through_ros(evaluation: Evaluation, missing: Sequence[campaign.Scene], domain: int | None) -> Any:
    """Outcomes, one at a time, of episodes in real time; all of a configuration before the next."""
    from . import episodes as ros
    from .bringup import free_domain

    period = float(default_settings("policy")["control_period"])
    trials = [
        Trial(configuration, scene.task, scene.seed)
        for configuration in evaluation.configurations
        for scene in missing
        if configuration in scene.configurations
    ]
    parameters = {"policy": {"checkpoint": str(evaluation.checkpoint.resolve())}}
    with tempfile.TemporaryDirectory(prefix="vla-entropy-") as logs:
        session = ros.Session(Path(logs), free_domain() if domain is None else domain, evaluation.limit, parameters)
        with ros.connected(session) as client:
            for episode in ros.run_on_nodes(client, trials, evaluation.limit, Silent()):
                yield [outcome(episode, period)]


def film(evaluation: Evaluation, folder: Path) -> None:
    """Run the first scene of each round again under the last configuration; write evaluate.mp4 and film.png."""
    from . import inprocess, video

    configuration, (task, seed) = evaluation.configurations[-1], scenes(evaluation.tasks, 1, evaluation.seed)[0]
    disturbed = [round_ for round_ in evaluation.rounds if round_ != (None, None)] or evaluation.rounds
    trials = [Trial(configuration, task, seed, disturbance, timing) for disturbance, timing in disturbed]
    arm = campaign.simulated_arm(str(evaluation.checkpoint.resolve()))
    episodes = list(inprocess.run_in_process(arm, trials, Silent(), evaluation.limit, keep_images=True))
    video.write_video(episodes, folder / "evaluate.mp4")
    video.write_sheet(episodes, folder / "film.png")


def write_evaluation(
    evaluation: Evaluation, outcomes: Sequence[Outcome], folder: Path, command: Sequence[str]
) -> dict[str, Any]:
    """Write evaluate.json, evaluate.md, evaluate.png and outcomes.md into `folder`; returns the figures.

    outcomes.md: the tables without what a clock measured, the same to the bit however often the run was broken off.
    """
    period = float(default_settings("policy")["control_period"])
    how = "ros" if evaluation.ros else "in process"
    figures = {
        "about": about(), "command": list(command), "how": how, "seed": evaluation.seed,
        "episodes_per_family": evaluation.episodes, "limit_s": evaluation.limit, **summary(outcomes),
    }  # fmt: skip
    (folder / "evaluate.json").write_text(json.dumps(figures, indent=1) + "\n")
    (folder / "evaluate.md").write_text(report.markdown(figures, period))
    (folder / "outcomes.md").write_text(report.exact(figures, period))
    plots.plot(figures, folder / "evaluate.png", f"{how}, {evaluation.episodes} episodes per family")
    return figures
