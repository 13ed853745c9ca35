"""A process that holds the probe: `python -m faultserver.prober REDIS NAME RESET LEASE`; prints `probing` inside it."""

from __future__ import annotations

import asyncio
import sys

from redis.asyncio import Redis

from windfall_worker.guards.breaker import Breaker, CircuitOpen


async def main(redis_url: str, name: str, reset: float, lease: float) -> None:
    """Become the probe, and never come back."""
    breaker = Breaker(name, Redis.from_url(redis_url), reset_timeout=reset, probe_lease=lease)
    while True:
        try:
            async with breaker.guard():
                sys.stdout.write("probing\n")
                sys.stdout.flush()
                await asyncio.sleep(3600)
        except CircuitOpen:
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
