"""A worker process that only calls: `python -m faultserver.caller REDIS URL MODEL RESET RETRIES`.

It prints `ready`, calls without end, waiting a moment when it is refused, and prints every outcome;
of refusals in a row it prints the first.
"""

from __future__ import annotations

import asyncio
import sys

from redis.asyncio import Redis

from windfall.errors import BackendError
from windfall_worker.cloud.openai import OpenAIClient
from windfall_worker.guards.breaker import CircuitOpen


async def main(redis_url: str, url: str, model: str, reset: float, retries: int) -> None:
    """Call until killed."""
    client = OpenAIClient(
        url,
        "sk-test",
        max_retries=retries,
        backoff_factor=0.05,
        circuit_breaker_reset_timeout=reset,
        redis=Redis.from_url(redis_url),
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    before = outcome = ""
    while True:
        try:
            await client.chat_completion([{"role": "user", "content": "hi"}], model, 5)
            outcome = "completed"
        except CircuitOpen:
            outcome = "refused"
            await asyncio.sleep(0.01)
        except BackendError as exc:
            outcome = exc.kind
        if (before, outcome) != ("refused", "refused"):
            sys.stdout.write(f"{outcome}\n")
            sys.stdout.flush()
        before = outcome


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5])))
