"""Redis: whether it answers, keeps what it is given, and is closed to strangers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from arq import ArqRedis
from redis.exceptions import NoPermissionError, RedisError

from windfall import keys
from windfall.broker.connection import connect, disconnect, redact
from windfall.checks.finding import Finding
from windfall.checks.holes import check_holes, server_name
from windfall.errors import BrokerDenied, ScriptsMissing, WindfallError
from windfall.producer import Producer
from windfall.queue.fleet import FleetStatus
from windfall.queue.quarantine import PutAside, newest
from windfall.scripts import Script, load_missing, run

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1", None)
_OLDEST: Final = (6, 2)
_CLOCK_TOLERANCE: Final = 30.0  # seconds
_LEAST_LEFT: Final = 0.1  # of the memory
_GB: Final = 1e9
_SHOWN: Final = 3  # of what was put aside


async def check_server(url: str) -> list[Finding]:
    """All findings; only the first where there is no Redis."""
    try:
        async with Producer(url) as producer:
            before = time.time()
            fleet = await producer.fleet()
            offset = fleet.now - (before + time.time()) / 2
            info = await producer.info()
            scripts = await _scripts(producer.redis)
            unreadable = await newest(producer.redis, _SHOWN)
            writes = await _writes(producer.redis, info)
        password = await _password(url)
    except WindfallError as exc:
        denied = isinstance(exc, BrokerDenied)
        mend = (
            "give the right one in the URL"
            if denied
            else "start one with docker compose up -d, or name it with --redis"
        )
        return [Finding(ok=False, what=str(exc).rstrip("."), mend=mend)]
    return [
        *_facts(url, info),
        password,
        *plain_text(url),
        scripts,
        *_quarantine(unreadable),
        writes,
        Finding(
            ok=abs(offset) < _CLOCK_TOLERANCE,
            what=f"this clock and that of Redis are {abs(offset):.1f} s apart",
            mend="set this machine's clock; the queue itself goes by that of Redis alone",
        ),
        Finding(ok=True, what=workers_in_words(fleet)),
    ]


def _facts(url: str, info: dict[str, Any]) -> Iterator[Finding]:
    name, answers = server_name(info)
    yield Finding(ok=True, what=f"{name} {answers} answers at {redact(url)}")
    version = str(info.get("redis_version", "?"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    yield Finding(ok=numbers >= _OLDEST, what="its version is 6.2 or later", mend=f"upgrade it; it is {version}")
    if hole := check_holes(info):
        yield hole
    saving = str(info.get("aof_enabled", 0)) == "1"
    yield Finding(
        ok=saving,
        what="it appends every write to a file" if saving else "a restart of it loses jobs (appendonly is off)",
        mend="set appendonly yes in redis.conf, or redis-cli CONFIG SET appendonly yes",
    )
    if saving and info.get("aof_last_write_status", "ok") != "ok":
        yield Finding(ok=False, what="its last write to that file failed", mend="look at its disk and at its log")
    policy = str(info.get("maxmemory_policy", "?"))
    yield Finding(
        ok=policy == "noeviction",
        what=f"maxmemory-policy is {policy}",
        mend="it may throw jobs away: set maxmemory-policy noeviction",
    )
    yield from _memory(info)


def _memory(info: dict[str, Any]) -> Iterator[Finding]:
    used = int(info.get("used_memory", 0))
    limit = int(info.get("maxmemory", 0)) or int(info.get("total_system_memory", 0))
    if limit:  # a hosted Redis may not say
        left = limit - used
        yield Finding(
            ok=left >= _LEAST_LEFT * limit,
            what=f"it has {max(0, left) / _GB:,.1f} GB of {limit / _GB:,.1f} GB of memory left",
            mend="read results and windfall delete what is done, or raise maxmemory",
        )


async def _password(url: str) -> Finding:
    """Whether strangers are let in: asked of Redis, for a URL may hold a password that nobody wants."""
    try:
        stranger = await connect(_without_user(url))
    except WindfallError:
        return Finding(ok=True, what="it turns away who has no password")
    await disconnect(stranger)
    here = _is_here(url)
    return Finding(
        ok=here,
        what="it wants no password" + (", on this machine alone" if here else ""),
        mend="whoever reaches it can read every prompt: set requirepass, and put the password into the URL",
    )


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    query = re.sub(r"(?i)(^|&)(password|username)=[^&]*", "", parts.query).lstrip("&")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query))


def _is_here(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return True
    hosts = parts.netloc.rpartition("@")[2].split(",")
    return all(urlsplit(f"//{host}").hostname in _LOOPBACK for host in hosts)


def plain_text(url: str) -> Iterator[Finding]:
    if urlsplit(url).scheme.startswith("rediss") or _is_here(url):
        return
    yield Finding(
        ok=True,
        warning=True,
        what="the password, prompts and answers go through the network as plain text",
        mend="use rediss:// (docs/operations.md, TLS), unless the network is your own",
    )


async def _writes(redis: Any, info: dict[str, Any]) -> Finding:
    """A replica answers all that is asked, and takes nothing."""
    if info.get("role") == "slave":
        master = f"{info.get('master_host')}:{info.get('master_port')}"
        return Finding(ok=False, what=f"it is a replica of {master}, and takes no jobs", mend="name the master")
    try:
        await redis.delete(keys.GRACE + ":none")  # of a key that is never there
    except (RedisError, OSError) as exc:
        mend = "look at its log; its user needs the rights of docs/operations.md"
        return Finding(ok=False, what=f"it takes no writes ({str(exc).rstrip('.')})", mend=mend)
    return Finding(ok=True, what="it takes writes")


async def _scripts(redis: ArqRedis) -> Finding:
    """Everything that changes a job is a script. Who may load them loads what Redis lacks, for those who may not."""
    try:
        with suppress(NoPermissionError):
            await load_missing(redis)
        await run(redis, Script.QUARANTINE, [], [], patience=0.0)
    except ScriptsMissing as exc:
        return Finding(ok=False, what=str(exc).rstrip("."))
    except RedisError as exc:
        mend = "give its user the rights that docs/operations.md has"
        return Finding(ok=False, what=f"it does not run scripts ({str(exc).rstrip('.')})", mend=mend)
    return Finding(ok=True, what="it runs scripts")


def _quarantine(found: list[PutAside]) -> Iterator[Finding]:
    if found:
        told = "; ".join(f"{each.what} under {each.where} ({each.why})" for each in found)
        yield Finding(
            ok=False,
            what=f"{found[0].number:,} values that nobody could read were put aside, the last: {told}",
            mend="find out which user writes them; the list goes 7 days after the last, or by DEL windfall:quarantine",
        )


def workers_in_words(fleet: FleetStatus) -> str:
    """Who serves what, and what keeps rows waiting."""
    serving = sorted({model.name for worker in fleet.workers for model in worker.models})
    if not serving:
        return "no worker is live yet"
    one = len(fleet.workers) == 1
    told = [f"{len(fleet.workers)} live worker{'' if one else 's'} serve{'s' if one else ''} {', '.join(serving)}"]
    if paused := [worker.id for worker in fleet.workers if worker.state == "paused"]:
        told.append(f"paused: {', '.join(paused)} (windfall fleet says why)")
    if lanes := [f"{lane.model} ({lane.route.value})" for lane in fleet.lanes if lane.paused]:
        told.append(f"paused lanes: {', '.join(lanes)}")
    if unserved := fleet.unserved():
        told.append(f"rows wait for {', '.join(unserved)}, which none serves")
    return "; ".join(told)
