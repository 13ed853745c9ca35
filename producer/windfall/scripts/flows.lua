-- Fair lanes: flows, their owners, and their virtual times ("Order" in docs/protocol.md).

local ARQ_FLOW = ':'  -- of the jobs in the lane's own sorted set

local function of_lane(prefix, lane)
  return prefix .. string.sub(lane, #LANE + 1)
end

-- The fields of a batch's hash: how many of its rows wait in a lane's flows; the time of a flow while it is away. While
-- a flow exists, the second exists too, so that a batch knows its flows.
local function waiting_field(lane)
  return of_lane('in:', lane)
end

local function time_field(lane, priority)
  return of_lane('at:', lane) .. ':' .. priority
end

local function valid_owner(owner)
  return owner and is_batch_id(owner) and owner or nil
end

local function weight_of(priority)
  return 2 ^ math.max(-9, math.min(tonumber(priority), 9))
end

local function share_of(owner)
  local share = tonumber(redis.call('HGET', SHARES, owner) or 1)
  return share > 0 and math.max(0.001, math.min(share, 1000)) or 1
end

local function add_to(hash, field, amount)
  redis.call('HSET', hash, field, tonumber(redis.call('HGET', hash, field) or 0) + amount)
end

-- Move a virtual time on, be it in the index or, while its owner is away, in a hash.
local function move_on(index, member, hash, field, step)
  if not redis.call('ZADD', index, 'XX', 'INCR', step, member) then add_to(hash, field, step) end
end

-- Charge a flow for these tokens, or give them back if they are negative.
local function charge(lane, flow, tokens)
  if tokens == 0 then return end
  local name, priority = string.match(flow, '^([^:]+):(-?%d+)$')
  if not name then return add_to(of_lane(FAIR, lane), 'arq', tokens) end
  local h = redis.call('HMGET', BATCH .. name, 'created', 'owner')
  if not h[1] then return end
  local owner, step = valid_owner(h[2]), tokens / weight_of(priority)
  if owner then
    move_on(of_lane(OWNED, lane) .. ':' .. owner, flow, BATCH .. name, time_field(lane, priority), step)
    move_on(of_lane(FLOWS, lane), owner, of_lane(FAIR, lane), 'owner:' .. owner, tokens / share_of(owner))
  else
    move_on(of_lane(FLOWS, lane), flow, BATCH .. name, time_field(lane, priority), step)
  end
end

-- Who comes (back) begins at the clock of the index or, if estimates were too high and those that wait were given tokens
-- back, at the least time of these; or at its own last time if that is later.
local function enter_index(index, member, hash, field, fair, clock_field)
  if redis.call('ZSCORE', index, member) then return end
  local own, at = tonumber(redis.call('HGET', hash, field) or 0), redis.call('HGET', fair, clock_field)
  if not at then redis.call('HSET', fair, clock_field, own) end
  local floor, top = tonumber(at or own), redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')
  if top[2] then floor = math.min(floor, tonumber(top[2])) end
  redis.call('ZADD', index, math.max(own, floor), member)
end

local function leave_index(index, member, hash, field)
  local at = redis.call('ZSCORE', index, member)
  if not at then return end
  redis.call('ZREM', index, member)
  redis.call('HSET', hash, field, at)
end

local function enter(lane, name, priority, owner)
  local index, fair, flow = of_lane(FLOWS, lane), of_lane(FAIR, lane), name .. ':' .. priority
  local field = time_field(lane, priority)
  if owner then
    enter_index(of_lane(OWNED, lane) .. ':' .. owner, flow, BATCH .. name, field, fair, 'clock:' .. owner)
    enter_index(index, owner, fair, 'owner:' .. owner, fair, 'clock')
  else
    enter_index(index, flow, BATCH .. name, field, fair, 'clock')
  end
end

local function leave(lane, name, priority, owner)
  local index, flow, field = of_lane(FLOWS, lane), name .. ':' .. priority, time_field(lane, priority)
  if not owner then return leave_index(index, flow, BATCH .. name, field) end
  local owned = of_lane(OWNED, lane) .. ':' .. owner
  leave_index(owned, flow, BATCH .. name, field)
  if redis.call('EXISTS', owned) == 0 then leave_index(index, owner, of_lane(FAIR, lane), 'owner:' .. owner) end
end

-- What a batch has in lanes: its flows, as pairs of lane and priority, and by lane how many rows of them wait.
local function flows_of(batch)
  local flows, waiting = {}, {}
  for _, field in ipairs(redis.call('HKEYS', batch)) do
    local key, priority = string.match(field, '^at:(.+):(-?%d+)$')
    if key and is_lane(LANE .. key) then flows[#flows + 1] = {LANE .. key, priority} end
    key = string.match(field, '^in:(.+)$')
    local rows = key and is_lane(LANE .. key) and tonumber(redis.call('HGET', batch, field)) or 0
    if rows ~= 0 then waiting[LANE .. key] = rows end
  end
  return flows, waiting
end

local function list_of(lane, name, priority)
  return of_lane(FLOW, lane) .. ':' .. name .. ':' .. priority
end

-- Take a batch's flows out of their lanes: its rows stay queued, and nobody claims them.
local function shelve(batch)
  local name = string.sub(batch, #BATCH + 1)
  if redis.call('SADD', SHELVED, name) == 0 then return end
  local owner = valid_owner(redis.call('HGET', batch, 'owner'))
  local flows, waiting = flows_of(batch)
  for _, flow in ipairs(flows) do leave(flow[1], name, flow[2], owner) end
  for lane, n in pairs(waiting) do
    redis.call('HINCRBY', of_lane(FAIR, lane), 'waiting', -n)
    redis.call('HINCRBY', of_lane(FAIR, lane), 'parked', n)
  end
end

local function unshelve(batch)
  local name = string.sub(batch, #BATCH + 1)
  if redis.call('SREM', SHELVED, name) == 0 then return end
  local owner = valid_owner(redis.call('HGET', batch, 'owner'))
  local flows, waiting = flows_of(batch)
  for _, flow in ipairs(flows) do
    if redis.call('EXISTS', list_of(flow[1], name, flow[2])) == 1 then enter(flow[1], name, flow[2], owner) end
  end
  for lane, n in pairs(waiting) do
    redis.call('HINCRBY', of_lane(FAIR, lane), 'parked', -n)
    redis.call('HINCRBY', of_lane(FAIR, lane), 'waiting', n)
    redis.call('PUBLISH', CHANNEL_WAKE .. lane, n)
  end
end

-- Remove a batch's flows: no row of theirs is to be claimed any more. While a batch is deleted, it still knows its lanes.
local function drop_flows(batch, deleting)
  local name = string.sub(batch, #BATCH + 1)
  local counted = redis.call('SREM', SHELVED, name) == 1 and 'parked' or 'waiting'
  local owner = valid_owner(redis.call('HGET', batch, 'owner'))
  local flows, waiting = flows_of(batch)
  for _, flow in ipairs(flows) do
    leave(flow[1], name, flow[2], owner)
    redis.call('UNLINK', list_of(flow[1], name, flow[2]))
    redis.call('HDEL', batch, waiting_field(flow[1]))
    if not deleting then redis.call('HDEL', batch, time_field(flow[1], flow[2])) end
  end
  for lane, n in pairs(waiting) do
    redis.call('HINCRBY', of_lane(FAIR, lane), counted, -n)
  end
end

-- A row that was never claimed waits no longer, though its number stays in its flow's list until a claim comes by.
local function note_gone(batch, lane)
  local field = waiting_field(lane)
  if tonumber(redis.call('HGET', batch, field) or 0) <= 0 then return end
  redis.call('HINCRBY', batch, field, -1)
  local shelved = redis.call('SISMEMBER', SHELVED, string.sub(batch, #BATCH + 1)) == 1
  redis.call('HINCRBY', of_lane(FAIR, lane), shelved and 'parked' or 'waiting', -1)
end

-- An interactive job waits, until `due` if that is later than now: claims look for such jobs only where there were some.
local function wait_interactively(lane, id, due)
  redis.call('ZADD', of_lane(INTERACTIVE, lane), due, id)
  redis.call('HSETNX', of_lane(FAIR, lane), 'interactive', 0)
end
