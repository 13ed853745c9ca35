"""`windfall`: all commands, and the one place where exceptions become sentences and exit codes."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Final

import typer

from windfall.cli.lazy_group import lazy_group
from windfall.cli.screen.console import complain, say
from windfall.cli.session import Terminated
from windfall.errors import WindfallError
from windfall.runtime.extras import DISTRIBUTION

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
TERMINATED: Final = 143

#: The commands in the order of the help, and where each is.
COMMANDS: Final = {
    "run": "windfall.cli.run:run",
    "demo": "windfall.cli.demo:demo",
    "submit": "windfall.cli.submit:submit",
    "status": "windfall.cli.poll:status",
    "watch": "windfall.cli.poll:watch",
    "results": "windfall.cli.results:results",
    "result": "windfall.cli.results:result",
    "batches": "windfall.cli.batches:batches",
    "cancel": "windfall.cli.steer:cancel",
    "retry": "windfall.cli.steer:retry",
    "delete": "windfall.cli.steer:delete",
    "pause": "windfall.cli.pause:pause",
    "resume": "windfall.cli.pause:resume",
    "drain": "windfall.cli.pause:drain",
    "fleet": "windfall.cli.fleet:fleet",
    "share": "windfall.cli.share:share",
    "doctor": "windfall.cli.doctor:doctor",
    "worker": "windfall.cli.worker:app",
    "breaker": "windfall.cli.breaker:app",
    "dead": "windfall.cli.dead:app",
}

app = typer.Typer(
    name="windfall",
    cls=lazy_group(COMMANDS),
    help="A queue for LLM completions that runs them with MLX on the Macs you already own and falls back to the "
    "cloud.\n\n"
    "Exit codes: 0 success, 1 failure, 2 wrong usage, 3 success, but some rows failed.",
    no_args_is_help=True,
    rich_markup_mode="markdown",  # flows a docstring's lines together
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            say(f"windfall {version(DISTRIBUTION)}")
        except PackageNotFoundError:
            say("windfall, not installed: running from source")
        raise typer.Exit


@app.callback()
def windfall(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """The console script: run the command, and exit with its code."""
    sys.exit(_exit_code())


def _exit_code() -> int:  # noqa: PLR0911 - one return for each way in which a command ends
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Terminated:
        return TERMINATED
    except BrokenPipeError:
        # The reader of our output has gone; without this the interpreter would complain in its final flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except WindfallError as exc:
        complain(str(exc))
        return FAILED
    except OSError as exc:
        complain(f"{exc.filename or 'the system'}: {exc.strerror or exc}")
        return FAILED
    except Exception as exc:  # noqa: BLE001 - _usage re-raises anything but a usage error
        return _usage(exc)
    return code if isinstance(code, int) else 0


def _usage(exc: Exception) -> int:
    """Say what is wrong with the command line; anything but a usage error is a bug, and re-raised.

    Typer has shipped its own copy of click since 0.26, so usage errors are told by their methods, not by their class.
    """
    message = getattr(exc, "format_message", None)
    if message is None:
        raise exc
    if type(exc).__name__ != "NoArgsIsHelpError":  # that one has already printed the help
        context = getattr(exc, "ctx", None)
        path = context.command_path if context else "windfall"
        complain(f"{message().rstrip('.')} (see {path} --help)")
    return USAGE
