-- Resume a batch: with the first call its flows are back in their lanes, and no more of its jobs are parked; each call moves
-- the parked jobs of one page of rows back to where they were. Any client can continue a half-finished resumption.
-- ARGV: batch id, rows per call, whether to begin (1, or 0: only continue).
-- Returns {rows left, whether it was paused (1 or 0)}; -1 rows if there is no such batch.
although_full()
local name, page = ARGV[1], math.min(tonumber(ARGV[2]), PAGE_MOST)
if not is_batch_id(name) then return {-1, 0} end
local batch = BATCH .. name
local h = redis.call('HMGET', batch, 'created', 'deleted', 'rows', 'resumed')
if not h[1] or h[2] then
  redis.call('SREM', RESUMING, name)
  return {-1, 0}
end
local was_paused = 0
if ARGV[3] == '1' and redis.call('SREM', PAUSED, batch) == 1 then
  was_paused = 1
  redis.call('HDEL', batch, 'paused')
  redis.call('SADD', RESUMING, name)
end
if redis.call('SISMEMBER', PAUSED, batch) + redis.call('SISMEMBER', CANCELLING, name) == 0 then unshelve(batch) end
if redis.call('SISMEMBER', RESUMING, name) == 0 then return {0, was_paused} end

-- Most often none of its jobs is parked: its rows need not be looked at where no lane has parked jobs at all.
local function any_parked()
  for _, lane in ipairs(redis.call('SRANDMEMBER', LANES, 1000)) do
    if redis.call('ZCOUNT', lane .. HELD_SUFFIX, PARKED, '+inf') > 0 then return true end
  end
  return redis.call('SCARD', LANES) > 1000
end

local rows = any_parked() and tonumber(h[3] or 0) or 0
local first = tonumber(h[4] or 0) + 1
local last = math.min(first + page - 1, rows)
local find_lane, woken = lane_finder(batch), {}

-- A job that was put back earlier still goes first.
local function restore(lane, id, due)
  if redis.call('EXISTS', JOB .. id) == 1 then
    redis.call('ZADD', lane, HELD_AT, id)
    redis.call('ZADD', lane .. HELD_SUFFIX, due, id)
    if job_of(id).class then wait_interactively(lane, id, due) end
  else
    redis.call('ZADD', lane, due, id)
    redis.call('ZREM', lane .. HELD_SUFFIX, id)
  end
  woken[lane] = (woken[lane] or 0) + 1
end

for row = first, last do
  local id = name .. ':' .. row
  local lane = redis.call('EXISTS', PAYLOAD .. id) == 1 and find_lane(id)
  local score = lane and tonumber(redis.call('ZSCORE', lane .. HELD_SUFFIX, id) or 0) or 0
  if score >= PARKED then restore(lane, id, score - PARKED) end
end
for each, n in pairs(woken) do redis.call('PUBLISH', CHANNEL_WAKE .. each, n) end
if last < rows then
  redis.call('HSET', batch, 'resumed', last)
  return {rows - last, was_paused}
end
redis.call('SREM', RESUMING, name)
redis.call('HDEL', batch, 'resumed')
return {0, was_paused}
