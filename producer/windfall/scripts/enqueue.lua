-- Add jobs to one lane; a job that is there already, or has its result, is left alone.
-- KEYS: lane.  ARGV: batch id or '', then for each job: id, priority, payload.
-- Returns how many were added, or -1 when the batch was cancelled and takes no more.
local lane = KEYS[1]
local batch = ARGV[1] ~= '' and BATCH .. ARGV[1] or nil
if batch and redis.call('HGET', batch, 'cancel') == '1' then return -1 end

local now = clock()
local added = 0
for i = 2, #ARGV, 3 do
  local id, priority, payload = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  if redis.call('EXISTS', PAYLOAD .. id, RESULT .. id, DEAD .. id) == 0 then
    redis.call('SET', PAYLOAD .. id, payload)
    -- The fraction keeps rows that arrive in one millisecond in their order.
    redis.call('ZADD', lane, queue_score(now, priority) + added / 1000, id)
    redis.call('ZREM', ABORT, id)
    added = added + 1
  end
end

if added > 0 then
  if batch then
    redis.call('HINCRBY', batch, 'total', added)
    redis.call('HINCRBY', batch, 'queued', added)
    if redis.call('HEXISTS', batch, 'finished') == 1 then reopen(batch) end
  end
  redis.call('SADD', LANES, lane)
  redis.call('PUBLISH', CHANNEL_WAKE .. lane, added)
end
return added
