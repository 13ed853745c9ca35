"""Seconds from kill -9 of a worker, with 20 jobs of 3 s running, until all are finished by another.

    python tests/benchmarks/recovery.py [--runs 5]

Each run starts two workers with 20 slots each, and one of them has all the jobs. Once with the defaults (a lease of
10 s) and once with `--lease 3`. Prints medians and writes JSON to `.bench`. The goals are 14 s and 7 s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from windfall import CompletionRequest, Producer
from windfall.embedded.broker import find_redis_server, redis_server

JOBS, LATENCY = 20, 3.0
SETTINGS: dict[str, tuple[str, ...]] = {"defaults": (), "--lease 3": ("--lease", "3")}
GOALS = {"defaults": 14.0, "--lease 3": 7.0}


@contextmanager
def worker(url: str, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process."""
    serve = ["--simulate", f"m={LATENCY:g}", "--slots", str(JOBS)]
    command = [sys.executable, "-m", "windfall", "worker", "--redis", url, *serve, *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def up(producer: Producer, count: int) -> None:
    """Wait until so many workers live."""
    while len((await producer.fleet()).workers) < count:  # noqa: ASYNC110 - they are other processes
        await asyncio.sleep(0.05)


async def once(url: str, flags: tuple[str, ...]) -> float:
    """Seconds from the kill to the last result."""
    request = CompletionRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    async with Producer(url) as producer:
        await producer.redis.flushall()
        with worker(url, *flags) as doomed, worker(url, *flags) as other:
            await up(producer, 2)
            # Held back for a moment, so that all jobs run on the one that dies.
            other.send_signal(signal.SIGSTOP)
            batch = await producer.enqueue_batch(request for _ in range(JOBS))
            while (await producer.batch(batch.id)).running < JOBS:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.01)
            other.send_signal(signal.SIGCONT)
            began = time.perf_counter()
            doomed.kill()
            results = [result async for result in producer.results(batch.id)]
            took = time.perf_counter() - began
    if len({result.job_id for result in results}) != JOBS or not all(result.ok for result in results):
        raise SystemExit(f"{JOBS} rows, {len(results)} results")
    return took


async def measure(runs: int) -> dict[str, list[float]]:
    """Both settings in turn."""
    server = find_redis_server()
    if server is None:
        raise SystemExit("no redis-server")
    seconds: dict[str, list[float]] = {name: [] for name in SETTINGS}
    with tempfile.TemporaryDirectory() as folder:
        async with redis_server(server, Path(folder)) as url:
            for _ in range(runs):
                for name, flags in SETTINGS.items():
                    seconds[name].append(await once(url, flags))
    return seconds


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    seconds = asyncio.run(measure(args.runs))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name:10} {median:5.1f} s to recover (goal {GOALS[name]:g} s)")
    out = Path(".bench") / "recovery.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"seconds": seconds, "medians": medians, "goals": GOALS}, indent=1))


if __name__ == "__main__":
    main()
