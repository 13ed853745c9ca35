"""Time going by for a breaker in Redis, whose own clock cannot be moved: what is compared with it is."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis

from windfall import keys

# In one step, because workers act on each of these times as soon as it has come. None (0) and held (-1) stay.
_EARLIER = """
for _, field in ipairs({"open_until", "lease_until"}) do
  local at = tonumber(redis.call("HGET", KEYS[1], field) or 0)
  if at > 0 then redis.call("HSET", KEYS[1], field, at - ARGV[1]) end
end
for place, at in ipairs(redis.call("LRANGE", KEYS[2], 0, -1)) do
  redis.call("LSET", KEYS[2], place - 1, at - ARGV[1])
end
"""


async def let_pass(redis: Redis, name: str, seconds: float) -> None:
    """All that the breaker of this name remembers happened so much earlier."""
    key = keys.BREAKER + name
    await cast(Any, redis).eval(_EARLIER, 2, key, key + keys.FAILURES_SUFFIX, round(seconds * 1000))
