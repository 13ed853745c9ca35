"""`windfall doctor`: is everything there, and how is it mended if not?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer

from windfall.broker import HOW_TO_INSTALL, find_redis_server
from windfall.cli import options
from windfall.cli.console import say, say_json
from windfall.cli.models import MISSING, checked, models_for, providers_of
from windfall.cli.session import run_async
from windfall.connection import redact
from windfall.errors import BrokerDenied, ConfigError, WindfallError
from windfall.producer import Producer
from windfall.settings import Settings, load_settings

_LOOPBACK = ("localhost", "127.0.0.1", "::1", None)
_OLDEST = (6, 2)
_CLOCK_TOLERANCE = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    ok: bool
    what: str
    mend: str = ""


def doctor(
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Check Redis, the settings, the models and the clock; say how to mend what is wrong.

    The exit code is 1 if anything is.
    """
    settings = load_settings(redis=redis, config=config)
    findings = [*run_async(_redis(settings)), *_models(settings), _embedded()]
    for finding in findings:
        if as_json:
            say_json(asdict(finding))
        else:
            say(f"{'✓' if finding.ok else '✗'} {finding.what}")
            if not finding.ok:
                say(f"    {finding.mend}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


async def _redis(settings: Settings) -> list[Finding]:
    try:
        async with Producer(settings.redis) as producer:
            before = time.time()
            fleet = await producer.fleet()
            offset = fleet.now - (before + time.time()) / 2
            info = await producer.ping()
    except WindfallError as exc:
        denied = isinstance(exc, BrokerDenied)
        mend = (
            "give the right one in the URL"
            if denied
            else "start one with docker compose up -d, or name it with --redis"
        )
        return [Finding(ok=False, what=str(exc), mend=mend)]
    serving = sorted({model.name for worker in fleet.workers for model in worker.models})
    fleet_text = f"{len(fleet.workers)} live workers" + (f" serve {', '.join(serving)}" if serving else "")
    return [
        *_server(settings.redis, info),
        Finding(
            ok=abs(offset) < _CLOCK_TOLERANCE,
            what=f"this clock and that of Redis are {abs(offset):.1f} s apart",
            mend="set this machine's clock; the queue itself goes by that of Redis alone",
        ),
        Finding(ok=True, what=fleet_text),
    ]


def _server(url: str, info: dict[str, Any]) -> Iterator[Finding]:
    version = str(info.get("redis_version", "?"))
    yield Finding(ok=True, what=f"Redis {version} answers at {redact(url)}")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    yield Finding(ok=numbers >= _OLDEST, what="its version is 6.2 or later", mend=f"upgrade it; it is {version}")
    saving = str(info.get("aof_enabled", 0)) == "1"
    yield Finding(
        ok=saving,
        what="it appends every write to a file" if saving else "a restart of it loses jobs (appendonly is off)",
        mend="set appendonly yes in redis.conf, or redis-cli CONFIG SET appendonly yes",
    )
    policy = str(info.get("maxmemory_policy", "?"))
    yield Finding(
        ok=policy == "noeviction",
        what=f"maxmemory-policy is {policy}",
        mend="it may throw jobs away: set maxmemory-policy noeviction",
    )
    parts = urlsplit(url)
    if parts.password:
        yield Finding(ok=True, what="it wants a password")
    else:
        yield Finding(
            ok=parts.hostname in _LOOPBACK,
            what="it wants no password" + (", on this machine alone" if parts.hostname in _LOOPBACK else ""),
            mend="whoever reaches it can read every prompt: set requirepass, and put the password into the URL",
        )


def _models(settings: Settings) -> Iterator[Finding]:
    runs_models = find_spec("mlx_lm") is not None
    yield Finding(
        ok=runs_models or not settings.models,
        what="MLX is installed" if runs_models else "MLX is not installed; only producers and simulations run here",
        mend=MISSING,
    )
    if settings.models:
        yield from _worker(settings)
    for name, table in settings.models.items():
        if isinstance(path := table.get("mlx"), str):
            yield _model(name, path)


def _worker(settings: Settings) -> Iterator[Finding]:
    """What `windfall worker` would say of the settings file before it starts."""
    try:
        from windfall_worker.settings import WorkerSettings  # noqa: PLC0415 - a producer does not load the worker

        facts = {"models": models_for([], [], [], None, settings), "providers": providers_of(settings)}
        found = checked(WorkerSettings, facts, "the worker")
    except ConfigError as exc:
        yield Finding(ok=False, what=str(exc), mend="mend it in windfall.toml")
        return
    yield Finding(ok=True, what=f"windfall.toml serves {', '.join(model.name for model in found.models)}")
    for name in sorted({provider for model in found.models for provider, _ in model.mappings()}):
        provider = found.provider(name)
        try:
            provider.api_key()
        except ConfigError as exc:
            yield Finding(ok=False, what=f"provider {name}: {exc}", mend=f"export {provider.api_key_env}=…")
        else:
            key = f"the key in {provider.api_key_env}" if provider.api_key_env else "no key"
            yield Finding(ok=True, what=f"provider {name}: {provider.base_url}, with {key}")


def _model(name: str, path: str) -> Finding:
    try:
        from windfall_worker.engine.model_files import resolve_model  # noqa: PLC0415 - an extra

        found = resolve_model(path)
    except ImportError:
        return Finding(ok=False, what=f"model {name}: {MISSING}")
    except ConfigError as exc:
        return Finding(ok=False, what=f"model {name}: {exc}", mend="mend it in windfall.toml")
    kind = "a folder" if Path(found).is_dir() else "a repository, downloaded when first used"
    return Finding(ok=True, what=f"model {name}: {path} is {kind}")


def _embedded() -> Finding:
    server = find_redis_server()
    if server is not None:
        return Finding(ok=True, what=f"run and demo start {server.name} by themselves")
    fake = find_spec("fakeredis") is not None
    return Finding(ok=fake, what="run and demo find no redis-server" + (", and use fakeredis" if fake else ""),
                   mend=HOW_TO_INSTALL)  # fmt: skip
