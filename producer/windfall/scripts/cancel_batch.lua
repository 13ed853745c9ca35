-- Let a batch take no more rows.
-- KEYS: batch.
-- Returns 1, or 0 when there is no such batch.
although_full()
if redis.call('HEXISTS', KEYS[1], 'created') == 0 then return 0 end
redis.call('HSET', KEYS[1], 'cancel', 1)
return 1
