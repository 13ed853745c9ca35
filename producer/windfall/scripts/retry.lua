-- Retry a dead letter: its result is removed, its ledger stays. It comes back to its lane as a job that was put back.
-- ARGV: id, ledger (JSON), payload, deadline (ms; 0 = none), 1 if it is interactive.
-- Returns 1, 0 when there is no dead letter of that id, or its batch is being deleted, or -1 when its batch is being
-- cancelled: that would end half-way.
local id, deadline = ARGV[1], tonumber(ARGV[4])
local dead = redis.call('HMGET', DEAD .. id, 'lane', 'entry', 'turn', 'flow')
if not dead[1] then return 0 end
local lane, batch = dead[1], batch_of(id)
if not is_lane(lane) or not is_job_id(id) then
  tell_of(DEAD .. id, lane, 'a dead letter of no lane')
  redis.call('DEL', DEAD .. id)
  redis.call('ZREM', DEAD_INDEX, id)
  return 0
end
if batch and redis.call('HEXISTS', batch, 'deleted') == 1 then return 0 end
if batch and redis.call('SISMEMBER', CANCELLING, batch_id_of(batch) or '') == 1 then return -1 end

-- The time of the newest entry removed: if the entry at a reader's cursor is gone but newer than this, Redis came back
-- without its last writes.
local function note_taken_out(entry)
  local ms = string.match(entry, '^(%d+)')
  if ms and tonumber(ms) > tonumber(redis.call('HGET', batch, 'taken') or 0) then redis.call('HSET', batch, 'taken', ms) end
end

redis.call('DEL', DEAD .. id, RESULT .. id)
redis.call('ZREM', DEAD_INDEX, id)
redis.call('ZREM', LETTERS, id)
redis.call('ZREM', ABORT, id)  -- stock Job.abort() of an ended job leaves its entry behind
redis.call('SET', PAYLOAD .. id, ARGV[3])
redis.call('HSET', JOB .. id, 'ledger', ARGV[2], 'turn', tonumber(dead[3] or 0) + 1, 'lane', lane)
if dead[4] then redis.call('HSET', JOB .. id, 'flow', dead[4]) end
redis.call('ZADD', lane, HELD_AT, id)
redis.call('ZADD', lane .. HELD_SUFFIX, clock(), id)
if ARGV[5] == '1' then
  redis.call('HSET', JOB .. id, 'class', 1)
  wait_interactively(lane, id, clock())
end
if deadline > 0 then redis.call('ZADD', DEADLINES, deadline, id) end
note_lane(lane)
if batch then
  if dead[2] then
    redis.call('XDEL', batch .. DONE_SUFFIX, dead[2])
    note_taken_out(dead[2])
  end
  count(batch, 'failed', 'queued')
  redis.call('HDEL', batch, 'cancel')
  if redis.call('SISMEMBER', PAUSED, batch) == 0 then unshelve(batch) end  -- it accepts rows again
  reopen(batch)
end
redis.call('PUBLISH', CHANNEL_WAKE .. lane, 1)
return 1
