-- Cancel a job: a queued one ends here, a running one is left to its worker, who is told.
-- KEYS: lane.  ARGV: id, result, how long to keep it (ms).
-- Returns 'cancelled', 'told', 'finished' or 'gone'.
although_full()
local lane, id = KEYS[1], ARGV[1]
if redis.call('EXISTS', RESULT .. id) == 1 then return 'finished' end
local holder = redis.call('GET', HOLDER .. id)
if holder then
  redis.call('ZADD', ABORT, clock(), id)
  redis.call('PUBLISH', CHANNEL_WORKER .. string.match(holder, '^(.*):%d+$'), id)
  return 'told'
end
if redis.call('EXISTS', PAYLOAD .. id) == 0 then return 'gone' end
if not redis.call('ZSCORE', lane, id) then
  -- Enqueued by somebody who chose another lane than the request names.
  for _, other in ipairs(redis.call('SMEMBERS', LANES)) do
    if redis.call('ZSCORE', other, id) then lane = other end
  end
end
settle(id, lane, 'queued', 'cancelled', ARGV[2], tonumber(ARGV[3]))
return 'cancelled'
