-- Which of the jobs that wait are claimed: those of whoever has been served least ("Order" in docs/protocol.md).

local QUANTUM = 4  -- rows that one flow gives at a time while others wait
local RESERVED_FOR = 60000  -- ms for which slots are kept for interactive jobs after one has come

-- By lane: its clock, the virtual time of the jobs in its own sorted set, and who is served next.
local fair
local interactive_lately
-- Between lanes whose flows cannot be compared: how far those of each have come on average in claims like this one.
local progress

local function look_at_lanes()
  fair, interactive_lately, progress = {}, false, {}
  for _, lane in ipairs(lanes) do
    local h = redis.call('HMGET', of_lane(FAIR, lane), 'clock', 'arq', 'interactive')
    fair[lane] = {
      key = of_lane(FAIR, lane), index = of_lane(FLOWS, lane), clock = tonumber(h[1] or 0), arq = tonumber(h[2] or 0),
      interactive = h[3], page = {}, at = 1, more = true,
    }
    if h[3] and now - tonumber(h[3]) < RESERVED_FOR then interactive_lately = true end
  end
  if #asked_lanes <= 1 then return end
  local fields = {}
  for i, lane in ipairs(asked_lanes) do fields[i] = 'lane:' .. of_lane('', lane) end
  local h = redis.call('HMGET', of_lane(FAIR, asked_lanes[1]), unpack(fields))
  for i, lane in ipairs(asked_lanes) do progress[lane] = h[i] and tonumber(h[i]) end
end

-- Interactive jobs are looked for only in lanes that had some.
local function take_interactive(limit)
  local any = false
  for _, lane in ipairs(lanes) do
    local f = fair[lane]
    if f.interactive and not interactive_lately and redis.call('EXISTS', of_lane(INTERACTIVE, lane)) == 0 then
      redis.call('HDEL', f.key, 'interactive')
      f.interactive = false
    end
    any = any or f.interactive
  end
  if any then take_due(interactive_of, limit) end
end

-- The next job of the lane's own sorted set: {id, score}.
local function next_of_set(lane, f)
  if f.at > #f.page and f.more then
    f.page, f.at = {}, 1
    local most = f.paged and 100 or math.max(1, want - #jobs)
    local found = redis.call('ZRANGEBYSCORE', lane, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
    for i = 1, #found, 2 do f.page[#f.page + 1] = {found[i], tonumber(found[i + 1])} end
    f.more, f.paged = #f.page == most, true
  end
  return f.page[f.at]
end

-- Who is served next in a lane, or nil: its virtual time, its entity in the index (nil for the lane's own sorted set), the
-- score of the next job in that set, and whether others wait.
local function head_of(lane)
  local f = fair[lane]
  if f.head == nil then
    local top, job = redis.call('ZRANGE', f.index, 0, 1, 'WITHSCORES'), next_of_set(lane, f)
    local at = job and math.max(f.arq, f.clock)
    if job and (not top[1] or at <= tonumber(top[2])) then
      f.head = {at = at, score = job[2], others = top[1] ~= nil}
    else
      f.head = top[1] and {at = tonumber(top[2]), entity = top[1], others = top[3] ~= nil or job ~= nil} or false
    end
  end
  return f.head
end

-- The lane to take from, and whether another has something as well.
local function next_lane()
  local waiting, least = {}, nil
  for _, lane in ipairs(lanes) do
    if head_of(lane) then
      waiting[#waiting + 1] = lane
      local at = progress[lane]
      if at and (not least or at < least) then least = at end
    end
  end
  if #waiting <= 1 then return waiting[1], false end
  local best
  for _, lane in ipairs(waiting) do
    progress[lane] = progress[lane] or least or 0  -- it comes (back) and starts level
    local tie = best and progress[lane] == progress[best]
    local earlier = tie and (head_of(lane).score or 0) < (head_of(best).score or 0)
    if not best or progress[lane] < progress[best] or earlier then best = lane end
  end
  return best, true
end

local function serve_set(lane, f, n)
  local tokens = 0
  if f.arq < f.clock then
    f.arq = f.clock
    redis.call('HSET', f.key, 'arq', f.arq)
  end
  for _ = 1, n do
    local job, before = next_of_set(lane, f), #jobs
    if not job then break end
    take(lane, job[1], job[2], FROM_SET)
    if #jobs > before then tokens = tokens + tokens_of(jobs[#jobs][4]) end
    if cut then break end
    f.at = f.at + 1
  end
  f.arq = f.arq + tokens
  return tokens, 1
end

-- Claim one row of a flow: nothing is known of most, so this is the short way. Returns its cost; nil if the row ended, or
-- was claimed by a claim that Redis lost, and is held; and false if it does not fit any more.
local function take_row(lane, batch, id, flow, mean)
  local payload = redis.call('GET', PAYLOAD .. id)
  local known = payload and redis.call('EXISTS', JOB .. id, HOLDER .. id) > 0
  if not payload or known and redis.call('ZSCORE', lane .. HELD_SUFFIX, id) then
    skipped = skipped + 1
    return nil
  end
  if known then
    local before = #jobs
    redis.call('HSET', JOB .. id, 'flow', flow, 'charge', tokens_of(payload, mean))
    take(lane, id, now, FROM_LIST)
    return #jobs > before and tokens_of(payload, mean)
  end
  if #jobs > 0 and bytes + #payload > most_bytes then
    cut = true
    return false
  end
  local token, tokens = worker .. ':' .. number, tokens_of(payload, mean)
  number = number + 1
  started[batch] = (started[batch] or 0) + 1
  redis.call('SET', HOLDER .. id, token)
  redis.call('HSET', JOB .. id, 'lane', lane, 'answer', answer, 'deliveries', 1, 'turn', 1, 'flow', flow, 'charge', tokens)
  redis.call('ZADD', lane, HELD_AT, id)
  redis.call('ZADD', lane .. HELD_SUFFIX, now + lease, id)
  answer_with(lane, id, token, payload, {1, false, false, 1}, 0)
  return tokens
end

-- Take up to n rows of a flow. Returns their tokens.
local function serve_flow(lane, flow, owner, n)
  local name, priority = string.match(flow, '^([^:]+):(-?%d+)$')
  local batch = BATCH .. name
  local b = batch_named(name)
  if not b.exists then
    leave(lane, name, priority, owner)
    redis.call('UNLINK', list_of(lane, name, priority), batch)
    return 0
  end
  if is_paused(batch) then
    shelve(batch)
    return 0
  end
  local list, tokens, taken = list_of(lane, name, priority), 0, 0
  local rows = redis.call('LPOP', list, skipped > 0 and math.max(n, 50) or n) or {}
  for i, row in ipairs(rows) do
    local id, cost = name .. ':' .. row, nil
    if taken == n then
      cost = false
    elseif is_row_of(id, name) then
      cost = take_row(lane, batch, id, flow, b.mean)
    end
    if cost == false then
      for k = #rows, i, -1 do redis.call('LPUSH', list, rows[k]) end
      break
    end
    if cost then
      tokens, taken = tokens + cost, taken + 1
    end
  end
  if taken > 0 then
    redis.call('HINCRBY', batch, waiting_field(lane), -taken)
    redis.call('HINCRBY', of_lane(FAIR, lane), 'waiting', -taken)
    charge(lane, flow, tokens)
  end
  if redis.call('EXISTS', list) == 0 then leave(lane, name, priority, owner) end
  return tokens, weight_of(priority)
end

local function drop_entity(index, entity)
  redis.call('ZREM', index, entity)
  tell_of(index, entity, 'a member that is not a name')
  return 0
end

-- The entity of an index is a flow, or an owner who has flows.
local function serve_entity(lane, f, entity, n)
  if string.find(entity, '^[^:%s]+:%-?%d%d?$') and is_text(entity, LONGEST_ID) then return serve_flow(lane, entity, nil, n) end
  if not is_batch_id(entity) then return drop_entity(f.index, entity) end
  local owned = of_lane(OWNED, lane) .. ':' .. entity
  local top = redis.call('ZRANGE', owned, 0, 1, 'WITHSCORES')
  if not top[1] then
    leave_index(f.index, entity, f.key, 'owner:' .. entity)
    return 0
  end
  if not string.find(top[1], '^[^:%s]+:%-?%d%d?$') then return drop_entity(owned, top[1]) end
  redis.call('HSET', f.key, 'clock:' .. entity, top[2])
  local tokens = serve_flow(lane, top[1], entity, top[3] and math.min(n, QUANTUM) or n)
  return tokens, share_of(entity)
end

-- Take what waits until there are `limit` jobs, from whoever has been served least.
local function take_new(limit)
  while #jobs < limit and not cut and skipped < SKIP_MOST and parked < PARK_MOST do
    local lane, others = next_lane()
    if not lane then return end
    local f, head = fair[lane], head_of(lane)
    local n = limit - #jobs
    if head.others or others then n = math.min(n, QUANTUM) end
    f.head, f.served, f.clock = nil, true, head.at
    local entities = others and redis.call('ZCARD', f.index) + (f.page[f.at] and 1 or 0) or 1
    local tokens, weight
    if head.entity then
      tokens, weight = serve_entity(lane, f, head.entity, n)
    else
      tokens, weight = serve_set(lane, f, n)
    end
    if others then progress[lane] = progress[lane] + tokens / ((weight or 1) * math.max(1, entities)) end
  end
end

-- Write down what became of the virtual times.
local function note_progress()
  local least
  for _, lane in ipairs(lanes) do
    local f = fair[lane]
    if f.served then redis.call('HSET', f.key, 'clock', f.clock) end
    local at = progress[lane]
    if at and (not least or at < least) then least = at end
  end
  for _, lane in ipairs(#asked_lanes > 1 and lanes or {}) do
    local field = 'lane:' .. of_lane('', lane)
    if progress[lane] and head_of(lane) then
      redis.call('HSET', of_lane(FAIR, asked_lanes[1]), field, progress[lane] - least)
    elseif progress[lane] then
      redis.call('HDEL', of_lane(FAIR, asked_lanes[1]), field)
    end
  end
end
