-- Cancel a job: a queued one ends here, and so does one whose worker is gone; a running one is left to its worker, who
-- is told.
-- KEYS: lane.  ARGV: id, result, how long to keep it (ms).
-- Returns 'cancelled', 'told', 'finished' or 'gone'.
although_full()
local id = ARGV[1]
if redis.call('EXISTS', RESULT .. id) == 1 then return 'finished' end
local lane = lane_of(id, KEYS[1])
local holder = redis.call('GET', HOLDER .. id)
if holder and is_leased(id, lane, clock()) then
  redis.call('ZADD', ABORT, clock(), id)
  redis.call('PUBLISH', CHANNEL_WORKER .. string.match(holder, '^(.*):%d+$'), id)
  return 'told'
end
if not holder and redis.call('EXISTS', PAYLOAD .. id) == 0 then return 'gone' end
settle(id, lane, holder and 'running' or 'queued', 'cancelled', ARGV[2], tonumber(ARGV[3]))
return 'cancelled'
