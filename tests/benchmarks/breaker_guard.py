"""What a guarded call costs: a closed breaker's guard against a bare PING on the same connection.

Run with `python tests/benchmarks/breaker_guard.py`. The two are measured in turn, so that whatever else the machine
does falls on both; the goal is a ratio of at most 2.5. Writes `.bench/breaker_guard.json`.
"""

from __future__ import annotations

import asyncio
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from redis.asyncio import Redis

from windfall.embedded.broker import find_redis_server, free_port
from windfall_worker.guards.breaker import Breaker

ROUNDS = 9
CALLS = 2000
GOAL = 2.5


async def seconds_each(call: Callable[[], Awaitable[object]]) -> float:
    """Seconds that one call takes, over many in a row."""
    start = time.perf_counter()
    for _ in range(CALLS):
        await call()
    return (time.perf_counter() - start) / CALLS


async def measure(port: int) -> dict[str, object]:
    """Both, in turn."""
    redis = Redis(port=port, single_connection_client=True)
    breaker = Breaker("benchmark", redis)

    async def guarded() -> None:
        async with breaker.guard():
            pass

    while True:
        try:
            await redis.ping()
            break
        except OSError:
            await asyncio.sleep(0.05)
    await guarded()
    pings, guards = [], []
    for _ in range(ROUNDS):
        pings.append(await seconds_each(redis.ping))
        guards.append(await seconds_each(guarded))
    await redis.aclose()
    ratios = [guard / ping for guard, ping in zip(guards, pings, strict=True)]
    return {
        "benchmark": "breaker_guard",
        "goal": GOAL,
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ping_us": round(statistics.median(pings) * 1e6, 1),
        "guard_us": round(statistics.median(guards) * 1e6, 1),
        "rounds": ROUNDS,
        "calls": CALLS,
        "machine": platform.platform(),
        "python": platform.python_version(),
    }


def main() -> int:
    """Measure against a Redis of its own. Returns 1 when the goal is missed."""
    server = find_redis_server()
    if server is None:
        sys.stderr.write("no redis-server on this machine\n")
        return 1
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen([str(server), *options], stdout=subprocess.DEVNULL)
    try:
        figures = asyncio.run(measure(port))
    finally:
        process.kill()
        process.wait()
    folder = Path(".bench")
    folder.mkdir(exist_ok=True)
    (folder / "breaker_guard.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures))
    return 0 if float(str(figures["ratio"])) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
