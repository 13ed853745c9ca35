"""What somebody wrote to Redis that cannot be read: passed over by every reader, put aside, and told of.

Producers write to most keys with plain commands, so any of them may hold a value of a foreign type or a name that is no
text. The scripts look after themselves (guard.lua); this is for reads without a script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from arq import ArqRedis
from redis.exceptions import RedisError, ResponseError

from windfall import keys
from windfall.errors import ScriptsMissing
from windfall.scripts import Script, run

#: Names of a set, and of a sorted set, that are looked at: more than any fleet has.
MOST = 10_000


async def answers(redis: ArqRedis, pipe: Any, shared: Sequence[str] = ()) -> list[Any]:
    """What the reads of a pipeline bring; None for each whose key holds a value of a foreign type.

    Where one of the `shared` keys does, it is put aside. Raises what else Redis raises.
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
    """The names among the members of a key. Those that are none are put aside."""
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
    """The rows of a batch among the entries of its stream, to which others can add."""
    names = [keys.name_of(raw) for raw in raws if raw]
    return [name for name in names if name and keys.batch_of(name) == batch_id]


async def put_aside(redis: ArqRedis, names: Sequence[str], members: Sequence[bytes] = ()) -> None:
    """As quarantine.lua has it, where this user may: a reader goes on without."""
    try:
        await run(redis, Script.QUARANTINE, names, members, patience=0.0)
    except (ResponseError, ScriptsMissing):
        return


@dataclass(frozen=True, slots=True)
class PutAside:
    """Something that could not be read: the how manieth it is, under which key, what (escaped, cut short), and why."""

    number: int
    where: str
    what: str
    why: str


async def newest(redis: ArqRedis, most: int) -> list[PutAside]:
    """What was put aside of late, the newest first; nothing where this user may not look."""
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
    """A count or a time from a hash; 0 for whatever is none."""
    text = raw or b""
    return int(text) if text.removeprefix(b"-").isdigit() and len(text) <= 16 else 0
