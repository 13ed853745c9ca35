-- Create a batch, or find it: by its id, or by its source if that submission was interrupted.
-- KEYS: batches.  ARGV: batch id, whether to continue an interrupted submission (1 or 0), digest of the source or '',
-- metadata (JSON), retention after its end (ms; 0 = forever), deadline (ms from now; 0 = none), owner or '', priority,
-- whether its rows are interactive (1 or 0).
-- Returns {the batch's id, 1 if it was created now}.
local id, source = ARGV[1], ARGV[3]
if not is_batch_id(id) then return refuse('a batch id is text without blanks and colons') end
if ARGV[2] == '1' and source ~= '' then
  local other = redis.call('GET', SOURCE .. source)
  if other and is_batch_id(other) then
    local h = redis.call('HMGET', BATCH .. other, 'created', 'sealed', 'cancel')
    if h[1] and not h[2] and not h[3] then return {other, 0} end
  end
end
local batch = BATCH .. id
if redis.call('HEXISTS', batch, 'created') == 1 then return {id, 0} end
local now, keep, deadline = clock(), tonumber(ARGV[5]), tonumber(ARGV[6])
redis.call('HSET', batch, 'created', now, 'meta', ARGV[4], 'keep', keep, 'total', 0, 'queued', 0)
if (ARGV[7] or '') ~= '' then
  if not is_batch_id(ARGV[7]) then return refuse('an owner is text without blanks and colons') end
  redis.call('HSET', batch, 'owner', ARGV[7])
end
if (ARGV[8] or '0') ~= '0' then redis.call('HSET', batch, 'priority', tonumber(ARGV[8])) end
-- Rows that were never claimed are in flows: those of earlier versions, and interactive ones, are not.
redis.call('HSET', batch, ARGV[9] == '1' and 'class' or 'listed', 1)
if deadline > 0 then redis.call('HSET', batch, 'deadline', now + deadline) end
if source ~= '' then
  redis.call('HSET', batch, 'source', source)
  redis.call('SET', SOURCE .. source, id)
end
redis.call('ZADD', KEYS[1], now, id)
keep_from(batch, now)
return {id, 1}
