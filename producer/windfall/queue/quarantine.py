"""Unreadable values in Redis: every reader skips them, quarantines them and reports them.

Producers write to most keys with plain commands, so any key may hold a value of another type or a name that is not
text. The scripts protect themselves (guard.lua); this module is for reads without a script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from arq import ArqRedis
from redis.exceptions import RedisError, ResponseError

from windfall import keys
from windfall.errors import ScriptsMissing
from windfall.scripts import Script, run

#: Names read of a set, and of a sorted set: more than any fleet has.
MOST: Final = 10_000


async def answers(redis: ArqRedis, pipe: Any, shared: Sequence[str] = ()) -> list[Any]:
    """The answers of a pipeline's reads; None for each whose key holds a value of another type.

    If one of the `shared` keys does, it is quarantined. Raises Redis' other errors.
    """
    found: list[Any] = await pipe.execute(raise_on_error=False)
    foreign = [_is_foreign(answer) for answer in found]
    for answer, passed in zip(found, foreign, strict=True):
        if isinstance(answer, Exception) and not passed:
            raise answer
    if shared and any(foreign):
        await put_aside(redis, shared)
    return [None if passed else answer for answer, passed in zip(found, foreign, strict=True)]


def _is_foreign(answer: object) -> bool:
    return isinstance(answer, ResponseError) and "WRONGTYPE" in str(answer)


async def readable(redis: ArqRedis, key: str, members: Iterable[bytes] | None) -> list[str]:
    """The names among the members of a key. Members that are not names are quarantined."""
    names, unreadable = [], []
    for raw in members or ():
        name = keys.name_of(raw)
        if name is None:
            unreadable.append(raw)
        else:
            names.append(name)
    if unreadable:
        await put_aside(redis, [key], unreadable)
    return names


def rows_of(batch_id: str, raws: Iterable[bytes | None]) -> list[str]:
    """The rows of a batch among the entries of its stream, which others can write to."""
    names = [keys.name_of(raw) for raw in raws if raw]
    return [name for name in names if name and keys.batch_of(name) == batch_id]


async def put_aside(redis: ArqRedis, names: Sequence[str], members: Sequence[bytes] = ()) -> None:
    """Run quarantine.lua if this user may; a reader carries on without it."""
    try:
        await run(redis, Script.QUARANTINE, names, members, patience=0.0)
    except (ResponseError, ScriptsMissing):
        return


@dataclass(frozen=True, slots=True)
class PutAside:
    """An unreadable value: its running number, its key, the value (escaped, cut short), and why."""

    number: int
    where: str
    what: str
    why: str


async def newest(redis: ArqRedis, most: int) -> list[PutAside]:
    """Recently quarantined values, newest first; nothing if this user may not read them."""
    client: Any = redis
    try:
        entries = await client.xrevrange(keys.QUARANTINE, count=most)
    except RedisError:
        return []
    found = []
    for _, fields in entries:
        texts = {
            name: fields.get(name.encode(), b"").decode(errors="replace")[:300] for name in ("where", "what", "why")
        }
        found.append(PutAside(number=number(fields.get(b"n")), **texts))
    return found


def number(raw: bytes | None) -> int:
    """A count or a time from a hash; 0 for anything else."""
    text = raw or b""
    return int(text) if text.removeprefix(b"-").isdigit() and len(text) <= 16 else 0
