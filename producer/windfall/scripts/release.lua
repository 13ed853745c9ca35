-- Put a running job back: at once (drain), or after a delay (retry, snooze).
-- KEYS: lane.  ARGV: id, token, delay (ms), ledger (JSON, or '' to leave it), what to do with its delivery count:
-- 'undo' (drain, snooze: this delivery does not count), 'reset' (retry: it ended) or 'keep' (its engine died).
-- Returns 'ok', 'held' if this claim no longer holds the job, or 'cancelled' if it is to be cancelled: then this claim
-- keeps it, and its worker ends it.
although_full()
local lane, id, token, delay = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('GET', HOLDER .. id) ~= token then return 'held' end
if redis.call('ZSCORE', ABORT, id) then return 'cancelled' end
local due = clock() + delay
redis.call('DEL', HOLDER .. id)
redis.call('HDEL', JOB .. id, 'unread')
redis.call('HINCRBY', JOB .. id, 'turn', 1)  -- a renewal that was sent before, and comes after, finds a later turn
redis.call('ZADD', lane, HELD_AT, id)
redis.call('ZADD', lane .. HELD_SUFFIX, due, id)
local job = job_of(id)
if job.class then wait_interactively(lane, id, due) end
if ARGV[4] ~= '' then
  redis.call('HSET', JOB .. id, 'ledger', ARGV[4])
  redis.call('HDEL', JOB .. id, 'lost')  -- the ledger includes them now
end
if ARGV[5] == 'undo' then
  redis.call('HINCRBY', JOB .. id, 'deliveries', -1)
  if job.flow then  -- it did not run
    charge(lane, job.flow, -tonumber(job.charge or 0))
    redis.call('HDEL', JOB .. id, 'charge')
  end
elseif ARGV[5] == 'reset' then
  redis.call('HSET', JOB .. id, 'deliveries', 0)
end
count(batch_of(id), 'running', 'queued')
redis.call('PUBLISH', CHANNEL_WAKE .. lane, 1)
return 'ok'
