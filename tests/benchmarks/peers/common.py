"""What the peers' programs share. They run in environments of their own, without Windfall.

    PYTHON <peer>_peer.py COMMAND '{"jobs": 5000, "seconds": 0.0}'

prints what it measured as one line of JSON. The Redis is that of the variable BENCH_REDIS, the slots of a worker
process are those of BENCH_SLOTS.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

URL = os.environ["BENCH_REDIS"]
PORT = int(URL.rpartition(":")[2])
SLOTS = int(os.environ.get("BENCH_SLOTS", "64"))

#: Enqueueing calls in flight at once, where a peer has none for many jobs.
IN_FLIGHT = 50
#: Seconds between two looks at whether all jobs are done.
LOOK = 0.02


def serve(*commands: Callable[..., Any]) -> None:
    """Run the command of the command line, and print what it returns."""
    known = {command.__name__: command for command in commands}
    answer = known[sys.argv[1]](**json.loads(sys.argv[2]))
    if inspect.iscoroutine(answer):
        answer = run(answer)
    print(json.dumps(answer))


def run(main: Any) -> Any:
    """On uvloop, where the peer's environment has it."""
    try:
        import uvloop  # noqa: PLC0415 - not every peer has it
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


async def in_parallel(enqueue: Callable[[int], Awaitable[Any]], jobs: int) -> None:
    """Enqueue one by one, many in flight."""
    for first in range(0, jobs, IN_FLIGHT):
        await asyncio.gather(*(enqueue(n) for n in range(first, min(first + IN_FLIGHT, jobs))))


async def until_empty(left: Callable[[], Awaitable[int]]) -> None:
    """Until no job is left."""
    while await left():  # noqa: ASYNC110 - the queues announce nothing
        await asyncio.sleep(LOOK)


async def now_and_then(jobs: int) -> AsyncIterator[float]:
    """The times at which single jobs are to be enqueued, the worker idle before each."""
    chance = random.Random(7)
    for _ in range(jobs):
        await asyncio.sleep(chance.uniform(0.01, 0.03))
        yield time.time()


def latencies(moments: Sequence[tuple[float, float, float]]) -> dict[str, list[float]]:
    """Milliseconds from enqueueing to the start, and to the result in the producer's hands."""
    return {
        "start": [1000 * (started - enqueued) for enqueued, started, _ in moments],
        "wait": [1000 * (seen - enqueued) for enqueued, _, seen in moments],
    }
