"""What a breaker costs a fleet whose endpoint fails now and then: completions a second at 0, 1, 10 and 100 % failures.

Run with `python tests/benchmarks/breaker_rates.py [SECONDS]`. A process keeps 64 calls in flight, spread over four
breakers of one name as over four workers, against an endpoint that answers after 0.1 s and fails at random; a refused
call waits until it may be tried again, as a job does. Goals: at least 0.95 of the healthy speed at 1 %, 0.6 at 10 %,
and at most 10 calls that end before it opens when all fail. Writes `.bench/breaker_rates.json`.
"""

from __future__ import annotations

import asyncio
import json
import platform
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from redis.asyncio import Redis

from windfall.embedded.broker import find_redis_server, free_port
from windfall.errors import BackendUnavailable
from windfall_worker.guards.breaker import Breaker, CircuitOpen, RedisLink

SECONDS = 30.0
WORKERS, CALLS, LATENCY = 4, 64, 0.1
GOALS = {"0.01": 0.95, "0.1": 0.6}
MOST_ENDED = 10


async def completions(redis: Redis, rate: float, seconds: float) -> float:
    """Completions a second at a failure rate."""
    chance = random.Random(7)  # the same failures in every run
    breakers = [Breaker(f"rate-{rate}", RedisLink(redis)) for _ in range(WORKERS)]
    ends: Counter[str] = Counter()
    until = time.monotonic() + seconds

    async def calls(breaker: Breaker) -> None:
        while time.monotonic() < until:
            try:
                async with breaker.guard():
                    await asyncio.sleep(LATENCY)
                    if chance.random() < rate:
                        raise BackendUnavailable("failed")  # noqa: TRY301 - ending the guarded block is what it is for
                ends["completed"] += 1
            except CircuitOpen as exc:
                await asyncio.sleep(min(exc.retry_after + 0.01, max(0.0, until - time.monotonic())))
            except BackendUnavailable:
                ends["failed"] += 1

    await asyncio.gather(*(calls(breakers[number % WORKERS]) for number in range(CALLS)))
    return ends["completed"] / seconds


async def ended_before_open(redis: Redis) -> int:
    """How many calls of a busy, healthy endpoint that dies end before the breaker opens."""
    breaker = Breaker("dies", RedisLink(redis))
    for _ in range(1000):
        async with breaker.guard():
            pass
    for ended in range(1, 1000):
        try:
            async with breaker.guard():
                raise BackendUnavailable("down")  # noqa: TRY301 - the same
        except CircuitOpen:
            return ended - 1
        except BackendUnavailable:
            pass
    return 1000


async def measure(port: int, seconds: float) -> dict[str, object]:
    """All of them, one after the other."""
    async with Redis(port=port) as redis:
        while True:
            try:
                await redis.ping()
                break
            except OSError:
                await asyncio.sleep(0.05)
        healthy = await completions(redis, 0.0, seconds)
        speeds = {rate: await completions(redis, float(rate), seconds) / healthy for rate in GOALS}
        ended = await ended_before_open(redis)
    return {
        "benchmark": "breaker_rates",
        "goals": GOALS | {"ended_before_open": MOST_ENDED},
        "healthy_per_second": round(healthy, 1),
        "speeds": {rate: round(speed, 3) for rate, speed in speeds.items()},
        "ended_before_open": ended,
        "seconds": seconds,
        "machine": platform.platform(),
        "python": platform.python_version(),
        "met": ended <= MOST_ENDED and all(speeds[rate] >= goal for rate, goal in GOALS.items()),
    }


def main() -> int:
    """Measure against a Redis of its own. Returns 1 when a goal is missed."""
    server = find_redis_server()
    if server is None:
        sys.stderr.write("no redis-server on this machine\n")
        return 1
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen([str(server), *options], stdout=subprocess.DEVNULL)
    try:
        figures = asyncio.run(measure(port, float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
    finally:
        process.kill()
        process.wait()
    folder = Path(".bench")
    folder.mkdir(exist_ok=True)
    (folder / "breaker_rates.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures))
    return 0 if figures["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
