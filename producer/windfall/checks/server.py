"""Redis: whether it answers, persists its data, and is protected by a password."""

from __future__ import annotations

import re
import shlex
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from arq import ArqRedis
from redis.exceptions import NoPermissionError, RedisError

from windfall import keys
from windfall.broker.connection import REDIS_ERRORS, connect, disconnect, put_together, redact
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
_GIB: Final = 2**30
_SHOWN: Final = 3  # of what was put aside


async def check_server(url: str) -> list[Finding]:
    """All findings; only one if Redis cannot be used."""
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
        mend = "correct the URL" if denied else "start one with docker compose up -d, or name yours with --redis"
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
            what=f"the clocks of this machine and Redis are {abs(offset):.1f} s apart",
            mend="set this machine's clock; the queue itself only uses that of Redis",
        ),
        Finding(ok=True, what=workers_in_words(fleet)),
        *waits_in_words(fleet),
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
        what="it appends every write to a file" if saving else "it loses jobs when it restarts (appendonly is off)",
        mend="set appendonly yes in redis.conf, or redis-cli CONFIG SET appendonly yes",
    )
    if saving and info.get("aof_last_write_status", "ok") != "ok":
        yield Finding(ok=False, what="its last write to that file failed", mend="check its disk and its log")
    policy = str(info.get("maxmemory_policy", "?"))
    yield Finding(
        ok=policy == "noeviction",
        what=f"maxmemory-policy is {policy}",
        mend="it may discard jobs: set maxmemory-policy noeviction",
    )
    yield from _memory(info)


def _memory(info: dict[str, Any]) -> Iterator[Finding]:
    used = int(info.get("used_memory", 0))
    limit = int(info.get("maxmemory", 0)) or int(info.get("total_system_memory", 0))
    if limit:  # a hosted Redis may not say
        left = limit - used
        yield Finding(
            ok=left >= _LEAST_LEFT * limit,
            what=f"it has {max(0, left) / _GIB:,.1f} GiB of {limit / _GIB:,.1f} GiB of memory left",
            mend="fetch results and windfall delete finished batches, or raise maxmemory",
        )


async def _password(url: str) -> Finding:
    """Whether Redis accepts connections without a password: a password in the URL does not prove that it is needed."""
    try:
        stranger = await connect(_without_user(url))
    except WindfallError:
        return Finding(ok=True, what="it requires a password")
    await disconnect(stranger)
    if urlsplit(url).scheme == "unix":
        return _socket(Path(unquote(urlsplit(url).path)))
    here = _is_here(url)
    return Finding(
        ok=here,
        what="it requires no password" + (", but is used on this machine only" if here else ""),
        mend="anyone who can reach it can read every prompt: set requirepass, and put the password into the URL",
    )


def _socket(path: Path) -> Finding:
    """Who else may enter its folder and write to the socket reaches a Redis that wants no password."""
    try:
        socket = path.stat().st_mode
        folders = [folder.stat().st_mode for folder in path.resolve().parents]
    except OSError as exc:
        return Finding(ok=False, what=f"cannot look at {path}: {exc.strerror}")
    open_to = [
        who
        for who, write, enter in (("its group", stat.S_IWGRP, stat.S_IXGRP), ("everybody", stat.S_IWOTH, stat.S_IXOTH))
        if socket & write and all(folder & enter for folder in folders)
    ]
    if not open_to:
        return Finding(ok=True, what="it wants no password, and only you can open its socket")
    return Finding(
        ok=False,
        what=f"it wants no password, and {open_to[-1]} on this machine can open its socket",
        mend="set requirepass and put the password into the URL, or unixsocketperm 700 in redis.conf, or chmod 700 "
        f"{shlex.quote(str(path.parent))}",
    )


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    query = re.sub(r"(?i)(^|&)(password|username)=[^&]*", "", parts.query).lstrip("&")
    return put_together(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query))


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
        what="the password, prompts and answers cross the network as plain text",
        mend="use rediss:// (docs/operations.md, TLS), unless you trust the network",
    )


async def _writes(redis: Any, info: dict[str, Any]) -> Finding:
    """Whether it accepts writes: a replica only answers reads."""
    if info.get("role") == "slave":
        master = f"{info.get('master_host')}:{info.get('master_port')}"
        return Finding(
            ok=False, what=f"it is a replica of {master}, which accepts no jobs", mend="use the master's address"
        )
    try:
        await redis.delete(keys.GRACE + ":none")  # a key that never exists
    except REDIS_ERRORS as exc:
        mend = "check its log; its user needs the rights listed in docs/operations.md"
        return Finding(ok=False, what=f"it rejects writes ({str(exc).rstrip('.')})", mend=mend)
    return Finding(ok=True, what="it accepts writes")


async def _scripts(redis: ArqRedis) -> Finding:
    """Whether it runs scripts, which make every change to a job. Loads missing ones if this user may."""
    try:
        with suppress(NoPermissionError):
            await load_missing(redis)
        await run(redis, Script.QUARANTINE, [], [], patience=0.0)
    except ScriptsMissing as exc:
        return Finding(ok=False, what=str(exc).rstrip("."))
    except RedisError as exc:
        mend = "give its user the rights listed in docs/operations.md"
        return Finding(ok=False, what=f"it does not run scripts ({str(exc).rstrip('.')})", mend=mend)
    return Finding(ok=True, what="it runs scripts")


def _quarantine(found: list[PutAside]) -> Iterator[Finding]:
    if found:
        told = "; ".join(f"{each.what} under {each.where} ({each.why})" for each in found)
        yield Finding(
            ok=False,
            what=f"{found[0].number:,} unreadable values were removed from the queue, the last: {told}",
            mend="find out which user writes them; the list expires 7 days after the last, or DEL windfall:quarantine",
        )


def waits_in_words(fleet: FleetStatus) -> Iterator[Finding]:
    """What keeps cloud backends from taking jobs until a person does something."""
    for reason, workers in fleet.waits().items():
        what, _, mend = reason.rpartition(". ")
        yield Finding(ok=False, what=f"{', '.join(workers)}: {what}", mend=mend)


def workers_in_words(fleet: FleetStatus) -> str:
    """Which workers serve which models, and what keeps rows waiting."""
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
        told.append(f"rows wait for {', '.join(unserved)}, which no worker serves")
    return "; ".join(told)
