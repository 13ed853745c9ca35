-- Cancel a batch: from the first call on it accepts no more rows, none of its flows is served, and it stays in the set of batches being cancelled
-- until all of its rows are. The progress is recorded, so that any client can continue a half-finished cancellation.
-- KEYS: batch.  ARGV: 'begin', 'look', 'end', or the highest row up to which all are cancelled.
-- Returns {next row, last row}, or {0, -1} when nothing is left to cancel.
although_full()
local batch, what = KEYS[1], ARGV[1]
local name = batch_id_of(batch)
if not name then return {0, -1} end
local h = redis.call('HMGET', batch, 'created', 'deleted', 'rows', 'cancel', 'cancelled_to')
if what == 'begin' and h[1] and not h[2] then
  redis.call('HSET', batch, 'cancel', 1, 'cancelled_to', 0)
  redis.call('SADD', CANCELLING, name)
  shelve(batch)
  return {1, tonumber(h[3] or 0)}
end
-- A batch that accepts rows again, because some of it was retried, is not cancelled any further.
if what == 'end' or not h[1] or h[2] or h[4] ~= '1' or not h[5] then
  redis.call('SREM', CANCELLING, name)
  if h[1] and not h[2] then
    redis.call('HDEL', batch, 'cancelled_to')
    if h[4] ~= '1' and redis.call('SISMEMBER', PAUSED, batch) == 0 then unshelve(batch) end
  end
  return {0, -1}
end
local done = math.max(tonumber(h[5]), tonumber(what) or 0)
redis.call('HSET', batch, 'cancelled_to', done)
return {done + 1, tonumber(h[3] or 0)}
