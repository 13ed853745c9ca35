"""The atomic steps of the queue protocol: one Lua file each, preceded by `guard.lua` and `common.lua`.

A script is called by its digest. Redis forgets its scripts when it restarts or fails over; the call that notices loads
it again (https://redis.io/docs/latest/develop/interact/programmability/eval-intro/). A user who may not load scripts,
such as the documented producer, waits for a worker to do so.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

from arq import ArqRedis
from redis.exceptions import NoPermissionError, NoScriptError

from windfall.errors import ScriptsMissing
from windfall.keys import LUA_NAMES

Arg = str | bytes | int | float

#: How often a script is loaded for one call: Redis may restart between loading and calling it.
_LOADS: Final = 3
#: Seconds that a user who may not load scripts waits for one who may, and seconds between two checks.
_PATIENCE, _LOOK = 10.0, 0.2


class Script(StrEnum):
    """The scripts, named after their files."""

    OPEN_BATCH = "open_batch"
    SEAL_BATCH = "seal_batch"
    ENQUEUE = "enqueue"
    REJECT = "reject"
    CLAIM = "claim"
    RENEW = "renew"
    FINISH = "finish"
    RELEASE = "release"
    CANCEL = "cancel"
    CANCEL_BATCH = "cancel_batch"
    RETRY = "retry"
    TIDY = "tidy"
    EXPIRE = "expire"
    DELETE = "delete"
    PAUSE_BATCH = "pause_batch"
    RESUME_BATCH = "resume_batch"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a script."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Arg]


@cache
def source(script: Script) -> str:
    """The full text of a script, as sent to Redis."""
    folder = files(__name__)
    parts = ((folder / f"{name}.lua").read_text("utf-8") for name in ("guard", "common", script.value))
    return LUA_NAMES + "\n".join(parts)


@cache
def _digest(script: Script) -> str:
    return hashlib.sha1(source(script).encode(), usedforsecurity=False).hexdigest()


async def run(
    redis: ArqRedis, script: Script, keys: Sequence[str], args: Sequence[Arg], *, patience: float = _PATIENCE
) -> Any:
    """Run one script in one round trip (two when Redis has forgotten it).

    A user who may not load it waits up to `patience` seconds for one who may. Raises `ScriptsMissing`.
    """
    client: Any = redis  # redis-py types script arguments as str only
    for _ in range(_LOADS):
        try:
            return await client.evalsha(_digest(script), len(keys), *keys, *args)
        except NoScriptError:
            await _bring(redis, [script], patience)
    return await client.evalsha(_digest(script), len(keys), *keys, *args)


async def run_all(redis: ArqRedis, steps: Sequence[Step]) -> list[Any]:
    """Run several steps in one round trip, each atomic by itself; the answer of a failed step is its exception.

    Raises `ScriptsMissing` as `run` does.
    """
    answers = await _pipelined(redis, steps)
    for _ in range(_LOADS):
        forgotten = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if not forgotten:
            break
        await _bring(redis, sorted({steps[i].script for i in forgotten}), _PATIENCE)
        again = await _pipelined(redis, [steps[i] for i in forgotten])
        for i, answer in zip(forgotten, again, strict=True):
            answers[i] = answer
    return answers


async def load_missing(redis: ArqRedis) -> int:
    """Load every script that Redis lacks; returns how many. Raises Redis' errors, such as a denial."""
    missing = await _missing(redis, list(Script))
    for script in missing:
        await redis.script_load(source(script))
    return len(missing)


async def _missing(redis: ArqRedis, scripts: Sequence[Script]) -> list[Script]:
    there = await redis.script_exists(*map(_digest, scripts))
    return [script for script, known in zip(scripts, there, strict=True) if not known]


async def _bring(redis: ArqRedis, scripts: Sequence[Script], patience: float) -> None:
    """Load these scripts, or wait until another user has loaded them."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + patience
    try:
        for script in scripts:
            await redis.script_load(source(script))
    except NoPermissionError as denied:
        while await _missing(redis, scripts):
            if loop.time() >= give_up:
                raise ScriptsMissing(
                    "Redis lacks the scripts of this version of Windfall (was it restarted?), and this user may not "
                    "load them: start a worker of this version, or run windfall doctor once as a worker's user"
                ) from denied
            await asyncio.sleep(_LOOK)


async def _pipelined(redis: ArqRedis, steps: Sequence[Step]) -> list[Any]:
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        for step in steps:
            pipe.evalsha(_digest(step.script), len(step.keys), *step.keys, *step.args)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers
