-- Take out of the indexes what nobody uses any more: dead letters that have expired, and lanes that have had no job for
-- long. A sample of the lanes a call, so that no call takes long; whoever comes next looks at others.
-- ARGV: most of each to look at, after how long a lane without jobs goes (ms).
-- Returns how many went.
although_full()
local page, idle = tonumber(ARGV[1]), tonumber(ARGV[2])
local now, gone = clock(), 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LETTERS, '-inf', now, 'LIMIT', 0, page)) do
  if not is_job_id(id) then
    redis.call('ZREM', LETTERS, id)
    tell_of(LETTERS, id, 'a member that is no name')
  elseif redis.call('EXISTS', DEAD .. id) == 0 then
    redis.call('ZREM', DEAD_INDEX, id)
    redis.call('ZREM', LETTERS, id)
    gone = gone + 1
  end
end
for _, lane in ipairs(redis.call('SRANDMEMBER', LANES, page)) do
  local since = tonumber(redis.call('ZSCORE', IDLE_LANES, lane) or now)
  if not is_lane(lane) then
    redis.call('SREM', LANES, lane)
    tell_of(LANES, lane, 'a member that is no name')
  elseif redis.call('EXISTS', lane) == 1 then
    redis.call('ZREM', IDLE_LANES, lane)
  elseif now - since < idle then
    redis.call('ZADD', IDLE_LANES, since, lane)
  else
    redis.call('SREM', LANES, lane)
    redis.call('ZREM', IDLE_LANES, lane)
    gone = gone + 1
  end
end
return gone
