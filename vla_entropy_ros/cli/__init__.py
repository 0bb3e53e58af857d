"""The `vla-entropy` command; each sub-command is a module of its own, loaded when it is asked for."""

from __future__ import annotations

import importlib

import click

from .. import __version__

COMMANDS = ("bench", "demo", "evaluate", "inspect", "record", "replay", "sweep", "train")


class Lazy(click.Group):
    """A group that imports a sub-command's module, named like it, on first use."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Names of all sub-commands."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Import the sub-command of that name; None if there is none."""
        if name not in COMMANDS:
            return None
        return getattr(importlib.import_module(f".{name}", __name__), name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click, but an unknown name lists the valid ones."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"no command '{args[0]}': valid are {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="vla-entropy")
def main() -> None:
    """Entropy-accelerated vision-language-action policies for ROS 2."""
