-- Pause a batch: what runs goes on, and claim.lua parks the rest as it comes upon it.
-- KEYS: batch.
-- Returns 1, or 0 when it was paused already, -1 when there is no such batch, -2 when it has ended.
although_full()
local batch = KEYS[1]
if not batch_id_of(batch) then return -1 end
local h = redis.call('HMGET', batch, 'created', 'deleted', 'finished')
if not h[1] or h[2] then return -1 end
if h[3] then return -2 end
if redis.call('SADD', PAUSED, batch) == 0 then return 0 end
redis.call('SREM', RESUMING, string.sub(batch, #BATCH + 1))
redis.call('HDEL', batch, 'resumed')
redis.call('HSET', batch, 'paused', 1)
return 1
