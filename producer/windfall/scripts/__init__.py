"""The atomic steps of the queue protocol: one Lua file each, `common.lua` before all of them.

A script is called by its digest. Redis forgets its scripts when it restarts or fails over; the call that notices loads
it again (https://redis.io/docs/latest/develop/interact/programmability/eval-intro/).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from arq import ArqRedis
from redis.exceptions import NoScriptError

from windfall.keys import LUA_NAMES

Arg = str | bytes | int | float

#: How often a script is loaded for one call: Redis may restart again between the loading and the call.
_LOADS = 3


class Script(StrEnum):
    """The name of a script is the name of its file."""

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


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a script."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Arg]


@cache
def source(script: Script) -> str:
    """The whole text of a script, as Redis gets it."""
    folder = files(__name__)
    common, own = ((folder / f"{name}.lua").read_text("utf-8") for name in ("common", script.value))
    return f"{LUA_NAMES}{common}\n{own}"


@cache
def _digest(script: Script) -> str:
    return hashlib.sha1(source(script).encode(), usedforsecurity=False).hexdigest()


async def run(redis: ArqRedis, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Any:
    """Run one script in one round trip (two when Redis has forgotten it)."""
    client: Any = redis  # redis-py types script arguments as str alone
    for _ in range(_LOADS):
        try:
            return await client.evalsha(_digest(script), len(keys), *keys, *args)
        except NoScriptError:
            await client.script_load(source(script))
    return await client.evalsha(_digest(script), len(keys), *keys, *args)


async def run_all(redis: ArqRedis, steps: Sequence[Step]) -> list[Any]:
    """Run several steps in one round trip, each atomic by itself; a failed step's answer is its exception."""
    answers = await _pipelined(redis, steps)
    for _ in range(_LOADS):
        forgotten = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if not forgotten:
            break
        for script in {steps[i].script for i in forgotten}:
            await redis.script_load(source(script))
        again = await _pipelined(redis, [steps[i] for i in forgotten])
        for i, answer in zip(forgotten, again, strict=True):
            answers[i] = answer
    return answers


async def _pipelined(redis: ArqRedis, steps: Sequence[Step]) -> list[Any]:
    client: Any = redis
    async with client.pipeline(transaction=False) as pipe:
        for step in steps:
            pipe.evalsha(_digest(step.script), len(step.keys), *step.keys, *step.args)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers
