"""A producer as a process: submits rows under a batch id; `python submitter.py --help`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Iterator

from windfall import CompletionRequest, Producer
from windfall.queue import submission


def rows(count: int, die_at: int | None) -> Iterator[CompletionRequest]:
    """The rows; kill -9 before the one of this number is given."""
    for n in range(1, count + 1):
        if n == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        body = {"model": "m", "messages": [{"role": "user", "content": f"row {n}"}], "custom_id": f"c{n}"}
        yield CompletionRequest.model_validate(body)


async def submit(url: str, batch_id: str, count: int, die_at: int | None) -> None:
    """Submit them."""
    async with Producer(url) as producer:
        await producer.enqueue_batch(rows(count, die_at), batch_id=batch_id)


def main() -> None:
    """Read the flags and submit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis", required=True)
    parser.add_argument("--batch", default="b")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--chunk", type=int, default=submission.CHUNK_ROWS)
    parser.add_argument("--die-at", type=int)
    parser.add_argument("--clock", type=float, default=0, help="seconds by which this process' clock is wrong")
    args = parser.parse_args()
    if args.clock:
        right = time.time
        time.time = lambda: right() + args.clock
    submission.CHUNK_ROWS = args.chunk  # small chunks, so that a few rows are many round trips
    asyncio.run(submit(args.redis, args.batch, args.rows, args.die_at))


if __name__ == "__main__":
    main()
