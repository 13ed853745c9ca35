-- Clean up the indexes: remove expired dead letters, and lanes that have had no jobs for long. Each call checks a
-- sample of the lanes, so that every call is short.
-- ARGV: how many of each to check at most, idle time after which a lane is removed (ms).
-- Returns how many were removed.
although_full()
local page, idle = tonumber(ARGV[1]), tonumber(ARGV[2])
local now, gone = clock(), 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LETTERS, '-inf', now, 'LIMIT', 0, page)) do
  if not is_job_id(id) then
    redis.call('ZREM', LETTERS, id)
    tell_of(LETTERS, id, 'a member that is not a name')
  elseif redis.call('EXISTS', DEAD .. id) == 0 then
    redis.call('ZREM', DEAD_INDEX, id)
    redis.call('ZREM', LETTERS, id)
    gone = gone + 1
  end
end

local function rows_parked(lane)
  return tonumber(redis.call('HGET', of_lane(FAIR, lane), 'parked') or 0) > 0
end

for _, lane in ipairs(redis.call('SRANDMEMBER', LANES, page)) do
  local since = tonumber(redis.call('ZSCORE', IDLE_LANES, lane) or now)
  if not is_lane(lane) then
    redis.call('SREM', LANES, lane)
    tell_of(LANES, lane, 'a member that is not a name')
  elseif redis.call('EXISTS', lane, of_lane(FLOWS, lane)) > 0 or rows_parked(lane) then
    redis.call('ZREM', IDLE_LANES, lane)
  elseif now - since < idle then
    redis.call('ZADD', IDLE_LANES, since, lane)
  else
    redis.call('SREM', LANES, lane)
    redis.call('ZREM', IDLE_LANES, lane)
    redis.call('UNLINK', of_lane(FAIR, lane), of_lane(INTERACTIVE, lane))
    gone = gone + 1
  end
end
-- An earlier version resumes a batch without its flows.
for _, name in ipairs(redis.call('SRANDMEMBER', SHELVED, page)) do
  if not is_batch_id(name) then
    redis.call('SREM', SHELVED, name)
    tell_of(SHELVED, name, 'a member that is not a name')
  elseif redis.call('SISMEMBER', PAUSED, BATCH .. name) + redis.call('SISMEMBER', CANCELLING, name) == 0 then
    unshelve(BATCH .. name)
  end
end
return gone
