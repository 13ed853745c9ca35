-- All rows of a batch are in.
-- KEYS: batch.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'sealed', 1)
close_if_done(KEYS[1], clock())
return 1
