-- Remove a batch and everything in it, one page of rows per call: any client can continue a half-finished removal.
-- KEYS: batches.  ARGV: batch id, condition: 'finished' (only if it is), 'any' (even if it is not) or 'kept' (only
-- if its retention is over), rows per call.
-- Returns how many rows are left, -1 if there is no such batch, -2 if the condition does not hold.
although_full()
local name, why, page = ARGV[1], ARGV[2], math.min(tonumber(ARGV[3]), PAGE_MOST)
if not is_batch_id(name) then return -1 end
local batch = BATCH .. name
local h = redis.call('HMGET', batch, 'created', 'finished', 'sealed', 'queued', 'running', 'rows', 'deleted', 'source')
if not h[1] then
  redis.call('ZREM', KEPT, name)
  return -1
end

if not h[7] then
  if why == 'finished' and not h[2] then return -2 end
  if why == 'kept' then
    local now = clock()
    if tonumber(redis.call('ZSCORE', KEPT, name) or now + 1) > now then return -2 end
    if not h[2] and (h[3] or tonumber(h[4] or 0) + tonumber(h[5] or 0) > 0) then
      keep_from(batch, now)  -- it is still running; check again later
      return -2
    end
  end
  redis.call('HSET', batch, 'cancel', 1)
  drop_flows(batch, true)
  redis.call('ZADD', KEPT, 0, name)  -- if we die half-way, the next sweep continues
end

local first = tonumber(h[7] or 0) + 1
local last = math.min(first + page - 1, tonumber(h[6] or 0))
local find_lane = lane_finder(batch)
for row = first, last do
  local id = name .. ':' .. row
  local holder = redis.call('GET', HOLDER .. id)
  if holder or redis.call('EXISTS', PAYLOAD .. id) == 1 then
    local lane = find_lane(id)
    if lane then
      redis.call('ZREM', lane, id)
      redis.call('ZREM', lane .. HELD_SUFFIX, id)
      redis.call('ZREM', of_lane(INTERACTIVE, lane), id)
    end
    redis.call('ZREM', DEADLINES, id)
    redis.call('ZREM', ABORT, id)
  end
  redis.call('UNLINK', PAYLOAD .. id, HOLDER .. id, RESULT .. id, TRIES .. id, JOB .. id, DEAD .. id, DELTAS .. id)
  redis.call('ZREM', DEAD_INDEX, id)
  if holder then
    -- Its worker checks, finds that it no longer holds the job, and stops it.
    tell_worker(holder, id)
  end
  redis.call('PUBLISH', CHANNEL_DONE .. id, 'deleted')
end
local left = tonumber(h[6] or 0) - last
if left > 0 then
  redis.call('HSET', batch, 'deleted', last)
  return left
end
redis.call('UNLINK', batch, batch .. DONE_SUFFIX)
if h[8] and redis.call('GET', SOURCE .. h[8]) == name then redis.call('DEL', SOURCE .. h[8]) end
redis.call('SREM', PAUSED, batch)
redis.call('SREM', RESUMING, name)
redis.call('SREM', CANCELLING, name)
redis.call('ZREM', KEPT, name)
redis.call('ZREM', KEYS[1], name)
return 0
