"""Time going by for the queue, whose clock is Redis' own and cannot be moved: what is compared with it is."""

from __future__ import annotations

import json
from typing import Any, cast

from redis.asyncio import Redis

from windfall import keys

# In one step, because workers act on each of these times as soon as it has come. Parked jobs stay parked.
_EARLIER = """
local ms, parked = tonumber(ARGV[1]), tonumber(ARGV[2])
local keys, pulse, batches, lanes = cjson.decode(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local function older(key)
  for _, member in ipairs(redis.call("ZRANGEBYSCORE", key, "-inf", "(" .. parked)) do
    redis.call("ZINCRBY", key, -ms, member)
  end
end
for _, key in ipairs(keys) do older(key) end
for _, key in ipairs(redis.call("KEYS", lanes .. "*")) do
  if redis.call("TYPE", key).ok == "zset" then older(key) end
end
for _, key in ipairs(redis.call("KEYS", batches .. "*")) do
  if redis.call("TYPE", key).ok == "hash" then
    for _, field in ipairs({"created", "first", "finished", "deadline"}) do
      if redis.call("HEXISTS", key, field) == 1 then redis.call("HINCRBY", key, field, -ms) end
    end
  end
end
for _, key in ipairs(redis.call("KEYS", "*")) do
  local left = redis.call("PTTL", key)
  if left > ms then redis.call("PEXPIRE", key, left - ms) elseif left >= 0 then redis.call("DEL", key) end
end
if pulse ~= "" and redis.call("EXISTS", pulse) == 1 then redis.call("INCRBY", pulse, -ms) end
"""
_TIMES = (
    keys.IDLE_LANES, keys.BATCHES, keys.KEPT, keys.DEADLINES, keys.DEAD_INDEX, keys.LETTERS, keys.WORKERS, keys.ABORT,
)  # fmt: skip


async def let_pass(redis: Redis, seconds: float, *, outage: bool = False) -> None:
    """All that the queue remembers happened so much earlier; with `outage`, no worker called meanwhile."""
    pulse = keys.PULSE if outage else ""
    args = (round(seconds * 1000), keys.PARKED, json.dumps(_TIMES), pulse, keys.BATCH, keys.LANE)
    await cast(Any, redis).eval(_EARLIER, 0, *args)
