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
local slices = math.floor(ARGV[1] * 10 / ARGV[2])
local tally = redis.call("HGETALL", KEYS[2])
redis.call("DEL", KEYS[2])
for at = 1, #tally, 2 do
  redis.call("HSET", KEYS[2], tally[at]:sub(1, 1) .. tonumber(tally[at]:sub(2)) - slices, tally[at + 1])
end
"""


async def let_pass(redis: Redis, name: str, seconds: float, *, window: float = 30.0) -> None:
    """All that the breaker of this name, with this window, remembers happened so much earlier."""
    key = keys.BREAKER + name
    arguments = round(seconds * 1000), round(window * 1000)
    await cast(Any, redis).eval(_EARLIER, 2, key, key + keys.TALLY_SUFFIX, *arguments)
