"""Where installed data lies: the source tree, an ament prefix, or the share folder of the Python environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGE = "vla_entropy_ros"
SMALL_POLICY = "small_policy"  # the checkpoint that comes with the package, for the simulated arm


def share_path(relative: str) -> Path:
    """Path of a shipped file such as "config/policy.yaml"; raises FileNotFoundError that lists where it was sought."""
    roots = _roots()
    for root in roots:
        if (root / relative).exists():
            return root / relative
    sought = ", ".join(str(root) for root in roots)
    raise FileNotFoundError(f"{relative} is not installed: sought in {sought}")


def default_checkpoint() -> Path:
    """Folder of the small policy that comes with the package."""
    return Path(__file__).parent / "models" / SMALL_POLICY


def _roots() -> list[Path]:
    source = Path(__file__).resolve().parent.parent
    roots = [source] if (source / "package.xml").is_file() else []
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    return roots + [Path(prefix) / "share" / PACKAGE for prefix in (*prefixes, sys.prefix)]
