-- All rows of a batch are in.
-- KEYS: batch.
local batch = KEYS[1]
if not batch_id_of(batch) or redis.call('HEXISTS', batch, 'created') == 0 then return 0 end
redis.call('HSET', batch, 'sealed', 1)
local source = redis.call('HGET', batch, 'source')
if source and redis.call('GET', SOURCE .. source) == string.sub(batch, #BATCH + 1) then
  redis.call('DEL', SOURCE .. source)
end
close_if_done(batch, clock())
return 1
