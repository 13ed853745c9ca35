"""`windfall worker`: run a worker on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from windfall.broker.connection import redact
from windfall.cli import options, options_watch, options_worker, service
from windfall.cli.models import models_for, worker_package, worker_settings
from windfall.cli.worker_log import WorkerLog
from windfall.config.env_file import into_environment, read_env_file
from windfall.config.settings import load_settings
from windfall.errors import ConfigError
from windfall.runtime.event_loop import new_event_loop
from windfall.telemetry.trace_export import exporting

if TYPE_CHECKING:
    from windfall_worker.settings import ModelSettings, WorkerSettings


app = typer.Typer(rich_markup_mode="markdown")
for command in (service.install, service.uninstall, service.status, service.logs):
    app.command()(command)


@app.callback(invoke_without_command=True)
def worker(
    ctx: typer.Context,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="A model to serve: the name that requests use, and a folder, a Hugging Face repository, or demo. "
            "May be repeated.",
        ),
    ] = None,
    simulate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SECONDS",
            help="Answer requests for NAME after SECONDS without a model, for capacity tests.",
        ),
    ] = None,
    cloud: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PROVIDER:MODEL",
            envvar="WINDFALL_CLOUD",
            help="A cloud model that may complete requests for NAME if no Mac can; several are tried in order.",
        ),
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option(min=1, max=4096, help="How many jobs it runs at once, per model [32].", show_default=False),
    ] = None,
    lease: Annotated[
        float | None,
        typer.Option(min=1, metavar="S", help="Seconds after which a dead worker's jobs go to another one [10]."),
    ] = None,
    drain_timeout: Annotated[
        float | None,
        typer.Option(min=0, metavar="S", help="Seconds that running jobs get to finish after Ctrl-C or SIGTERM [30]."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The worker's name in the fleet [this machine's name].")] = None,
    env_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Read keys from a file of KEY=VALUE lines that only you can read.", show_default=False
        ),
    ] = None,
    log_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Log to this file instead of the terminal; 5 files of 10 MB.", show_default=False
        ),
    ] = None,
    spill: options_worker.Spill = None,
    spill_after: options_worker.SpillAfter = None,
    only: options_worker.Only = None,
    on_ac: options_worker.OnAC = None,
    above_battery: options_worker.AboveBattery = None,
    below_thermal: options_worker.BelowThermal = None,
    when_idle: options_worker.WhenIdle = None,
    metrics_port: options_watch.MetricsPort = None,
    metrics_host: options_watch.MetricsHost = None,
    log_format: options_watch.LogFormat = None,
    log_level: options_watch.LogLevel = None,
    redis: options.LoggedRedisUrl = None,
    config: options.Config = None,
) -> None:
    """Run a worker: take jobs from Redis and complete them, until Ctrl-C or SIGTERM.

    It then takes no more jobs, lets running ones finish, and hands back the rest; a second Ctrl-C hands them back at
    once. Without --model, --simulate and --cloud it serves the models in windfall.toml. Other flags override the keys
    of the same names in its [worker] table.
    """
    if ctx.invoked_subcommand:
        _refuse_flags(ctx)
        return
    log = WorkerLog(log_file)
    log.open(log_format, log_level)
    with log.failures():
        if env_file:
            into_environment(read_env_file(env_file))
        settings = load_settings(redis=redis, config=config)
        models = models_for(model or [], simulate or [], cloud or [], slots, settings)
        flags: dict[str, object] = {"lease": lease, "drain_timeout": drain_timeout, "name": name}
        flags |= {"spill": spill, "spill_after": spill_after}
        flags |= {"only": only, "on_ac": on_ac, "above_battery": above_battery}
        flags |= {"below_thermal": below_thermal, "when_idle": when_idle}
        flags |= {"log_format": log_format, "log_level": log_level}
        flags |= {"metrics_port": metrics_port, "metrics_host": metrics_host}
        given = {flag: value for flag, value in flags.items() if value is not None}
        what = worker_settings(settings, {**given, "models": models})
        log.open(what.log_format, what.log_level)
        if settings.source:
            log.tell(f"settings of {settings.source.absolute()}")
        if warning := options.password_in_sight(redis):
            log.caution(warning)
        # run_worker handles the signals itself, so this is not run_async.
        with exporting("windfall-worker"), asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_work(what, settings.redis, log))


def _refuse_flags(ctx: typer.Context) -> None:
    """Reject a worker flag before a service command, which would otherwise be silently ignored."""
    given = [each for each in ctx.params if getattr(ctx.get_parameter_source(each), "name", "") == "COMMANDLINE"]
    if given:
        flag = f"--{given[0].replace('_', '-')}"
        raise ConfigError(f"{flag} belongs to windfall worker itself; a service reads its settings from windfall.toml")


async def _work(settings: WorkerSettings, redis: str, log: WorkerLog) -> None:
    with worker_package():
        from windfall_worker.main import run_worker  # noqa: PLC0415 - an extra
    ready = asyncio.Event()
    greeting = asyncio.create_task(_greet(ready, settings, redis, log))
    try:
        await run_worker(settings, redis, ready=ready)
    finally:
        greeting.cancel()
    log.tell("drained")


async def _greet(ready: asyncio.Event, settings: WorkerSettings, redis: str, log: WorkerLog) -> None:
    await ready.wait()
    served = ", ".join(f"{model.name} ({_backends(model)})" for model in settings.models)
    log.tell(f"ready: serves {served} from {redact(redis)}; Ctrl-C drains")


def _backends(model: ModelSettings) -> str:
    here = "simulated" if model.simulate is not None else "mlx"
    return " + ".join([*([f"{here}, {model.slots} slots"] if model.local else []), *model.cloud])
