"""Commands whose modules are imported when they are called: a light one does not wait for what others need."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group


def lazy_group(named: Mapping[str, str]) -> type[TyperGroup]:
    """A group of these commands, in this order: a name, and where its function or `typer.Typer` is (`module:name`)."""

    class LazyGroup(TyperGroup):
        """Its help, and a name that it does not know, import all of them."""

        # The context is `Any`, and so is a command: typer has shipped its own copy of click since 0.26.
        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
            return list(named)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            for name in [cmd_name] if cmd_name in named else named:  # all: a similar name is suggested
                if name not in self.commands:
                    self.commands.update(_imported(name, named[name]))
            return super().get_command(ctx, cmd_name)

    return LazyGroup


def _imported(name: str, where: str) -> Mapping[str, Any]:
    part, found = typer.Typer(rich_markup_mode="markdown"), pkgutil.resolve_name(where)
    if isinstance(found, typer.Typer):
        part.add_typer(found, name=name)
    else:
        part.command(name)(found)
    part.callback()(lambda: None)
    return get_group(part).commands
