-- Make a batch, or find the one of that id.
-- KEYS: batch, batches.  ARGV: batch id, metadata (JSON), how long to keep results (ms; 0 = for ever).
-- Returns 1 when it was made, 0 when it was there.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local now = clock()
redis.call('HSET', KEYS[1], 'created', now, 'meta', ARGV[2], 'keep', ARGV[3], 'total', 0, 'queued', 0)
redis.call('ZADD', KEYS[2], now, ARGV[1])
return 1
