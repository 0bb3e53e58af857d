"""Write docs/reference/parameters.md from the tables of settings: `python -m tools.reference`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from vla_entropy_ros.engine.tunables import BUDGETS, tunable
from vla_entropy_ros.nodes.command.settings import COMMAND_SETTINGS
from vla_entropy_ros.nodes.policy.settings import POLICY_SETTINGS
from vla_entropy_ros.nodes.simulator.settings import SIMULATOR_SETTINGS
from vla_entropy_ros.settings import Setting, default_settings, everyone

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "parameters.md"
TABLES = {"policy": POLICY_SETTINGS, "command": COMMAND_SETTINGS, "simulator": SIMULATOR_SETTINGS}
COUNTS = [tunable(field).name for field in BUDGETS]
HEAD = f"""# Parameters

Written by `python -m tools.reference` from the tables of settings; defaults are those of
[config/policy.yaml](../../config/policy.yaml). † is read-only: it can only be given at start-up. All others may be set
while the node runs, and hold from the next tick or command on. A dot separates group and name, as `ros2 param set`
takes it; in a file a group is nested.

*Who listens* says when a parameter has an effect. Setting one that nothing listens to is no error: the answer and the
log say why it has none. {", ".join(f"`{name}`" for name in COUNTS[:-1])} and `{COUNTS[-1]}` count visual tokens: once
a policy is configured they go as far as it has tokens, `k1` and `k2` together.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(section(node, settings) for node, settings in TABLES.items())])


def section(node: str, settings: tuple[Setting, ...]) -> str:
    """Heading and table of one node."""
    defaults, anyone = default_settings(node), everyone(settings)
    lines = [f"## `{node}`", "", "| parameter | default | valid | who listens | meaning |", "|---|---|---|---|---|"]
    for setting in settings:
        name = f"`{setting.name}`{' †' if setting.read_only else ''}"
        cells = (name, f"`{written(defaults[setting.name])}`", setting.valid, setting.who(anyone), setting.description)
        lines.append(f"| {' | '.join(cells)} |".replace("<", "&lt;"))
    return "\n".join([*lines, ""])


def written(value: Any) -> str:
    """A value as it stands in a parameter file."""
    return yaml.safe_dump(value, default_style='"' if value == "" else None).splitlines()[0]


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
