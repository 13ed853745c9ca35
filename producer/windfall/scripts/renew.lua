-- Renew the leases of all running jobs of one worker in one call.
-- ARGV: lease (ms), renewal period (ms), then for each job: lane, id, token, its turn, and the SHA-1 of its payload, or ''
-- for a job whose release is in flight, which must not be taken up again.
-- Returns {ids whose claim has ended (another holds them, or they were put back or finished), ids that are to be cancelled, ids that Redis does not know}.
although_full()
local lease, beat = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = clock()
pulse(now, beat)
local lost, aborted, gone = {}, {}, {}
for i = 3, #ARGV, 5 do
  local lane, id, token, turn, digest = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4]
  local holder = redis.call('GET', HOLDER .. id)
  -- Every claim and release is a turn. If Redis has a later one, our claim has ended, and this call was overtaken.
  local ended = not holder and tonumber(redis.call('HGET', JOB .. id, 'turn') or 0) > turn
  if not holder and not ended and digest ~= '' and is_same_job(id, digest) then
    -- Redis came back without our claim (its last second was lost) and no other claim has the job: take it up again.
    local batch = batch_of(id)
    if batch and not job_of(id).turn and not redis.call('ZSCORE', lane, id) then note_gone(batch, lane) end
    redis.call('SET', HOLDER .. id, token)
    redis.call('HSET', JOB .. id, 'lane', lane, 'turn', turn)
    redis.call('HINCRBY', JOB .. id, 'deliveries', 1)
    redis.call('ZREM', of_lane(INTERACTIVE, lane), id)
    count(batch, 'queued', 'running')
    holder = token
  end
  if holder == token then
    redis.call('ZADD', lane, HELD_AT, id)
    redis.call('ZADD', lane .. HELD_SUFFIX, now + lease, id)
    redis.call('HDEL', JOB .. id, 'answer', 'unread')  -- whoever renews has read it
    if redis.call('ZSCORE', ABORT, id) then aborted[#aborted + 1] = id end
  elseif digest == '' then
    -- It was released a moment ago.
  elseif holder or ended or redis.call('EXISTS', RESULT .. id) == 1 then
    lost[#lost + 1] = id
  else
    gone[#gone + 1] = id
  end
end
return {lost, aborted, gone}
