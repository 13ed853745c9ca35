-- End an overdue job, whether or not any worker is live. A running one is ended by its worker, unless that has died.
-- KEYS: lane, if known.  ARGV: id, result, retention (ms; for a job without a batch), SHA-1 of the
-- payload that the result was made from.
-- Returns 'expired', 'held', 'early' (also for another job with the same id: the next sweep reads that one), or
-- 'finished' if there was nothing left to end.
although_full()
local lane, id = KEYS[1], ARGV[1]
if not is_job_id(id) then return 'finished' end
local now = clock()
local due = redis.call('ZSCORE', DEADLINES, id)
if not due then return 'finished' end  -- it ended, or another job without a deadline has taken its id
if tonumber(due) > now or is_another_job(id, ARGV[4]) then return 'early' end
local holder = redis.call('GET', HOLDER .. id)
if redis.call('EXISTS', RESULT .. id) == 1 or (not holder and redis.call('EXISTS', PAYLOAD .. id) == 0) then
  redis.call('ZREM', DEADLINES, id)
  return 'finished'
end
lane = lane_of(id, lane)
if holder and is_leased(id, lane, now) then return 'held' end
settle(id, lane, holder and 'running' or 'queued', 'expired', ARGV[2], tonumber(ARGV[3]))
return 'expired'
