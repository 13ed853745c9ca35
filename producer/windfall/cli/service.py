"""`windfall worker install`, `status`, `logs` and `uninstall`: the worker as a service of this machine."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from windfall.broker.connection import without_passwords
from windfall.cli.screen.console import duration, note, say
from windfall.cli.screen.log_line import readable
from windfall.cli.service_settings import service_settings
from windfall.config.private import create_private
from windfall.errors import ConfigError
from windfall.service.choice import service_manager
from windfall.service.plan import EMPTY_ENV_FILE, Plan, env_file, settings_file
from windfall.service.state import State, running_for
from windfall.service.tail import follow, last_lines

if TYPE_CHECKING:
    from windfall.service.manager import ServiceManager

NOT_RUNNING: Final = 3  # the exit code of `status`, as in systemctl

#: Seconds. What ends a worker is written to its log and then to stderr.
_SAME_WORDS: Final = 2.0


def install(
    force: Annotated[bool, typer.Option("--force", help="Replace the installed service, which drains first.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be written and run, without doing it.")
    ] = False,
) -> None:
    """Install the worker as a service that starts at login, and restarts when it fails.

    Its settings come from ~/.config/windfall/windfall.toml, its keys from worker.env in the same folder.
    """
    manager = service_manager()
    settings = service_settings(settings_file(), env_file())
    plan = Plan(settings_file().absolute(), env_file().absolute(), manager.log_file, settings.drain_timeout)
    if dry_run:
        _show(manager, plan)
        return
    if manager.installed:
        if not force:
            raise ConfigError(f"the worker is already installed as a service{_which(manager)}; replace it with --force")
        _say_that_it_drains(manager)
    if not plan.env_file.exists():
        create_private(plan.env_file, EMPTY_ENV_FILE)
        say(f"wrote {plan.env_file}, for keys; only you can read it")
    manager.install(plan)
    say(f"wrote {manager.unit}, and {manager.name} started it")
    say(f"its settings are in {plan.config}; to apply changes: windfall worker install --force")
    say("see windfall worker status, windfall worker logs and windfall fleet")
    if manager.name == "systemd":
        say("to keep it running while you are logged out: loginctl enable-linger")


def uninstall() -> None:
    """Drain the worker and remove the service. Settings, keys and log stay."""
    manager = service_manager()
    if not manager.installed:
        raise ConfigError("the worker is not installed as a service; there is nothing to uninstall")
    _say_that_it_drains(manager)
    manager.uninstall()
    say(f"removed {manager.unit}")
    kept = [path for path in (settings_file(), env_file(), manager.log_file) if path.exists()]
    if kept:
        say(f"kept {', '.join(map(str, kept))}")


def status() -> None:
    """Say whether the worker runs as a service; the exit code is 3 if it does not."""
    manager = service_manager()
    if not manager.installed:
        say("not installed; to install it: windfall worker install")
        raise typer.Exit(NOT_RUNNING)
    say(f"installed: {manager.unit}")
    found = manager.state()
    say(in_words(manager, found))
    if found.pid is None:
        raise typer.Exit(NOT_RUNNING)


def logs(
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the log as it grows, until Ctrl-C.")
    ] = False,
    lines: Annotated[int, typer.Option("-n", min=0, metavar="N", help="How many lines to show.")] = 50,
) -> None:
    """Print the end of the service's log: formatted in a terminal, verbatim in a pipe."""
    manager = service_manager()
    path = manager.log_file
    early = _before_the_log(manager, lines)
    if early:
        note(f"{manager.error_file} has errors from before the log was opened; its last lines:")
        for line in early:
            say(without_passwords(line))
    if not path.exists():
        if early:
            return
        raise ConfigError(f"{path} does not exist yet: the service has not started, see windfall worker status")
    if early:
        note(f"{path} is older:")
    for line in follow(path, lines) if following else last_lines(path, lines):
        say(readable(line) if sys.stdout.isatty() else line)


def _before_the_log(manager: ServiceManager, lines: int) -> list[str]:
    """The end of its stderr, if that is newer than the log, for example because its packages are gone."""
    path = manager.error_file
    if path is None or not path.exists() or not path.stat().st_size:
        return []
    if manager.log_file.exists() and path.stat().st_mtime < manager.log_file.stat().st_mtime + _SAME_WORDS:
        return []
    return last_lines(path, lines)


def in_words(manager: ServiceManager, found: State) -> str:
    """Whether it is running, and how it last ended."""
    before = f"it last ended with {found.last_exit}; windfall worker logs says why" if found.last_exit else ""
    if found.pid is None:
        return f"not running: {before or 'it has not started yet'}"
    seconds = running_for(manager.run, found.pid)
    since = f", for {duration(seconds)}" if seconds is not None else ""
    return f"running: pid {found.pid}{since}" + (f"; {before}" if before and found.last_exit != "exit code 0" else "")


def _which(manager: ServiceManager) -> str:
    pid = manager.state().pid
    return f" ({manager.unit}" + (f", pid {pid})" if pid else ")")


def _say_that_it_drains(manager: ServiceManager) -> None:
    if manager.state().pid is not None:
        note("draining: running jobs may finish, the rest goes back to the queue")


def _show(manager: ServiceManager, plan: Plan) -> None:
    if not plan.env_file.exists():
        say(f"would write {plan.env_file}, empty and readable only by you")
    say(f"would write {manager.unit}:")
    say(manager.render(plan).decode().rstrip())
    say("would run:")
    for command in manager.starting:
        say(f"  {shlex.join(command)}")
