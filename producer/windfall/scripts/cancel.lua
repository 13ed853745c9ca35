-- Cancel a job: a queued one ends here, and so does one whose worker is gone; the worker of a running one is notified.
-- KEYS: lane, if known.  ARGV: id, result, retention (ms), 1 if the request was made earlier (a stock arq program may
-- have made it for its own job, which is left alone), SHA-1 of the payload that the result was made from.
-- Returns 'cancelled', 'told', 'finished', 'gone' (also if another job has taken the id) or 'foreign'.
although_full()
local id = ARGV[1]
if not is_job_id(id) then return 'gone' end
if redis.call('EXISTS', RESULT .. id) == 1 then
  redis.call('ZREM', ABORT, id)
  return 'finished'
end
if is_another_job(id, ARGV[5]) then return 'gone' end
local lane = known_lane(id, KEYS[1])
if ARGV[4] == '1' and redis.call('EXISTS', PAYLOAD .. id) == 1 and not lane then return 'foreign' end
lane = lane or lane_of(id, KEYS[1])
local holder = redis.call('GET', HOLDER .. id)
if holder and is_leased(id, lane, clock()) then
  redis.call('ZADD', ABORT, clock(), id)
  tell_worker(holder, id)
  return 'told'
end
if not holder and redis.call('EXISTS', PAYLOAD .. id) == 0 then
  redis.call('ZREM', ABORT, id)
  return 'gone'
end
settle(id, lane, holder and 'running' or 'queued', 'cancelled', ARGV[2], tonumber(ARGV[3]))
return 'cancelled'
