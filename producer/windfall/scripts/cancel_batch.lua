-- Cancel a batch: from the first call on it takes no more rows, and stands among those that are being cancelled until all
-- of its rows are. How far that came is noted, so that whoever finds it half done goes on from there.
-- KEYS: batch.  ARGV: 'begin', 'look', 'end', or the highest row up to which all are cancelled.
-- Returns {first row to go on with, last row}, or {0, -1} when there is nothing to cancel (any more).
although_full()
local batch, what = KEYS[1], ARGV[1]
local name = batch_id_of(batch)
if not name then return {0, -1} end
local h = redis.call('HMGET', batch, 'created', 'deleted', 'rows', 'cancel', 'cancelled_to')
if what == 'begin' and h[1] and not h[2] then
  redis.call('HSET', batch, 'cancel', 1, 'cancelled_to', 0)
  redis.call('SADD', CANCELLING, name)
  return {1, tonumber(h[3] or 0)}
end
-- A batch that takes rows again, since some of it was run again by hand, is cancelled no further.
if what == 'end' or not h[1] or h[2] or h[4] ~= '1' or not h[5] then
  redis.call('SREM', CANCELLING, name)
  redis.call('HDEL', batch, 'cancelled_to')
  return {0, -1}
end
local done = math.max(tonumber(h[5]), tonumber(what) or 0)
redis.call('HSET', batch, 'cancelled_to', done)
return {done + 1, tonumber(h[3] or 0)}
