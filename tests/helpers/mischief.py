"""What a producer can write by hand under the documented rights, to see that it harms nobody else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from arq import ArqRedis
from redis.exceptions import ResponseError

from helpers.requests import request
from windfall import keys
from windfall.scripts import Script, lua
from windfall.wire import encode_job

Command = tuple[str | bytes | int | float, ...]

LANE = keys.lane_queue("m", "auto")
HELD = LANE + keys.HELD_SUFFIX
TYPES = ("string", "hash", "set", "zset", "stream")

#: Names that no job, batch, lane or worker can have.
NAMES: tuple[bytes, ...] = (b"\xff\xfe", b"", b"two\nlines", b"\x00", b"\x1b[31mred", b"\xed\xa0\x80", b"x" * 2_000_000)
#: Names that would make a key of one thing that of another.
CROSSED = ("d:done:1", "d:done", "x:held", "other:999", "other:007", "other:99999999999999999999")
SCORES = ("0", "-inf", "+inf", "1e300", "-1e300", "-1")


def written(key: str, kind: str) -> Command:
    """The command that makes a value of this type."""
    return {
        "string": ("SET", key, "x"),
        "hash": ("HSET", key, "f", "x"),
        "set": ("SADD", key, "x"),
        "zset": ("ZADD", key, 0, "x"),
        "stream": ("XADD", key, "*", "f", "x"),
    }[kind]


def of_own() -> list[str]:
    """Keys of a batch and of jobs of the mischievous producer's own."""
    prefixes = (keys.PAYLOAD, keys.HOLDER, keys.RESULT, keys.JOB, keys.DEAD, keys.DELTAS, keys.TRIES)
    found = [prefix + job for prefix in prefixes for job in ("mine:1", "alone")]
    return [*found, keys.BATCH + "mine", keys.BATCH + "mine" + keys.DONE_SUFFIX, keys.SOURCE + "s", keys.WORKER + "w"]


def shared() -> list[str]:
    """Keys that everybody uses, the lane of the other producer's rows among them."""
    return [*keys.SHARED, LANE, HELD, keys.GRACE]


def listed() -> list[Command]:
    """The mischievous producer's own names stand wherever others look."""
    sets = (keys.LANES, keys.PAUSED, keys.RESUMING)
    sorted_sets = (keys.ABORT, keys.BATCHES, keys.KEPT, keys.DEADLINES, keys.DEAD_INDEX, keys.WORKERS, LANE, HELD)
    names = ("mine", "mine:1", "alone", "w", "windfall:lane:auto:q")
    return [
        *[("SADD", key, name) for key in sets for name in names],
        *[("ZADD", key, 0, name) for key in sorted_sets for name in names],
    ]


def foreign_types(kind: str, names: list[str]) -> list[Command]:
    """A value of this type under each of these keys."""
    return [command for key in names for command in (("DEL", key), written(key, kind))]


def strange_names() -> list[Command]:
    """Members that are no names, wherever a set is looked at, with every kind of score."""
    sets = (keys.LANES, keys.RESUMING, keys.PAUSED)
    sorted_sets = (keys.ABORT, keys.BATCHES, keys.KEPT, keys.DEADLINES, keys.DEAD_INDEX, keys.WORKERS, LANE, HELD)
    names = [*NAMES, *(name.encode() for name in CROSSED)]
    commands: list[Command] = [("SADD", key, name) for key in sets for name in names]
    for key in sorted_sets:
        commands += [("ZADD", key, SCORES[i % len(SCORES)], name) for i, name in enumerate(names)]
        commands += [("ZADD", key, score, f"score{score}") for score in SCORES]
    lanes = ("windfall:lane:auto:m:held", "windfall:lane:none:m", "windfall:lane:auto:", "windfall:batches", "x")
    commands += [("SADD", key, lane) for key in (keys.LANES, keys.PAUSED) for lane in lanes]
    return commands


def strange_values() -> list[Command]:
    """Text where numbers belong, numbers beyond measure, JSON that is none."""
    batch, job, beat = keys.BATCH + "mine", keys.JOB + "mine:1", keys.WORKER + "w"
    fields = ("created", "queued", "running", "total", "completed", "failed", "keep", "finished", "deadline", "first")
    commands: list[Command] = [("HSET", batch, name, value) for name in fields for value in ("9" * 400, "nan", "abc")]
    commands += [("HSET", batch, "rows", "1e300"), ("HSET", batch, "meta", b"[\xff"), ("HSET", batch, b"\xff", b"\xff")]
    commands += [
        ("HSET", job, "deliveries", "x", "ledger", b"[\xff", "lost", b"a b@c \xff@9 @", "lane", "windfall:batches")
    ]
    commands += [("SET", keys.HOLDER + "mine:2", b"\xff no token"), ("SET", keys.SOURCE + "s", b"\xff")]
    last = "18446744073709551615-18446744073709551615"
    commands += [
        ("XADD", batch + keys.DONE_SUFFIX, last, "i", b"\xff"),
        ("XADD", keys.DELTAS + "mine:1", last, "d", "x"),
    ]
    commands += [("HSET", keys.DEAD + "mine:1", "payload", b"\xff", "lane", "windfall:batches", "entry", "x")]
    forged = b'{"id":"w","host":"h","pid":1,"state":"s","started_at":%b,"seen_at":%b,"version":"1","completed":%b}'
    commands += [("SET", beat, forged % (n, n, n)) for n in (b"1e400", b"-1e300", b"9" * 4000, b"NaN", b"1")]
    return commands


def strange_jobs() -> list[Command]:
    """Payloads that are no jobs, or whose numbers cannot be reckoned with."""
    good = encode_job(request("hi", deadline=5.0), 1)
    payloads = [b"", b"\xff", b"[" * 10_000, good.replace(b'"et":1', b'"et":' + b"9" * 400)]
    payloads += [good.replace(b'"et":1', b'"et":-5'), good.replace(b"5.0", b"1e400"), good.replace(b"5.0", b"1e300")]
    payloads += [good.replace(b'"m"', name) for name in (b'"m:held"', b'"\\u0000"', b'"\\ud800"', b'""')]
    commands: list[Command] = []
    for number, payload in enumerate(payloads):
        name = f"strange{number}"
        commands += [("SET", keys.PAYLOAD + name, payload), ("ZADD", LANE, "-inf", name)]
        commands += [("ZADD", keys.DEADLINES, 0, name), ("HSET", keys.DEAD + name, "payload", payload, "lane", LANE)]
        commands += [("ZADD", keys.DEAD_INDEX, 1, name)]
    return commands


def scripts_called(number: int) -> Iterator[Command]:
    """Scripts that a worker has loaded, called with whatever comes to hand."""
    rng = random.Random(number)
    names: list[Any] = [*shared(), *of_own(), "windfall:batch:d:done", "windfall:batch:", "other", b"\xff"]
    words: list[Any] = [
        *NAMES[:-1],
        *CROSSED,
        "",
        "mine",
        "mine:1",
        "alone",
        "nan",
        "inf",
        "-1",
        "0",
        1,
        10**9,
        "1e300",
    ]
    words += ["any", "kept", "failed", "completed", encode_job(request(), 1), LANE, "undo", "tok:1"]
    for _ in range(number):
        script = rng.choice(list(Script))
        named = [rng.choice(names) for _ in range(rng.randrange(3))]
        more = [rng.choice(words) for _ in range(rng.randrange(12))]
        yield ("EVALSHA", lua(script).digest, len(named), *named, *more)


async def do(redis: ArqRedis, commands: list[Command]) -> None:
    """Send them all; what Redis refuses is refused."""
    client: Any = redis
    for command in commands:
        try:
            await client.execute_command(*command)
        except ResponseError:
            continue
