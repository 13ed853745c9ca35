-- Pause a batch: running jobs continue, its flows leave their lanes, and claim.lua parks what comes back.
-- KEYS: batch.
-- Returns 1, or 0 if it was already paused, -1 if there is no such batch, -2 if it has ended.
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
shelve(batch)
return 1
