-- Take up to `want` jobs of some lanes in one round trip, and no more bytes than a slow link brings in time: interactive
-- ones first, then half from what comes back (lost leases, retries and snoozes that are due) and half from what waits,
-- fairly, and all from one of the two where nothing is in the other ("Order" in docs/protocol.md). Paused lanes are
-- passed over. The flows of a paused batch are not in its lanes; what else of it is met is parked: it stays where it is, with
-- a score that lies beyond every time, until the batch is resumed.
-- KEYS: lanes.  ARGV: worker id, first token number, want, lease (ms), renewal period (ms), most bytes of payloads (one
-- job is given in any case), which half goes first: 'back' or 'new', and how many of the jobs may be other than
-- interactive while such have come lately.
-- Returns {now, when the next one is due (ms, or -1), jobs, 1 if bytes cut it short, 1 if slots are kept for interactive
-- jobs}, a job being {lane, id, token, payload or '', deliveries, ledger, lost holders, 1 if it was cancelled meanwhile,
-- turn, bytes of a payload that is kept back because no answer with it was read, else 0, 1 if it is interactive}.
-- A call that is made again under the same token number, because its answer was lost on the way, gets the same answer.
-- Its worker deletes the answer when it has read it: a job whose holder never did has spent no delivery.
although_full()
local worker, number, want = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local lease, beat = tonumber(ARGV[4]), tonumber(ARGV[5])
local most_bytes, first_half, batch_most = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8] or ARGV[3])
local now = clock()
pulse(now, beat)
local grace = redis.call('EXISTS', GRACE) == 1
local ANSWER_LIFE = 24 * HOUR  -- far beyond a lease: reclaiming a job checks whether its holder had read the answer
local answer = ANSWER .. worker .. ':' .. number
local jobs, bytes, cut = {}, 0, false
local given = {}  -- the stored form of the answer: lanes and ids
local started = {}

local QUANTUM = 4  -- rows that one flow gives at a time while others wait
local SKIP_MOST = 500  -- rows that ended while they waited, and that one call passes over
local GUESS = 256  -- tokens of a completion, for a batch that has none yet
local RESERVED_FOR = 60000  -- ms for which slots are kept for interactive jobs after one has come
local PARK_MOST = 500  -- jobs that one call parks, so that every call is short; the next call continues
local SET_BACK_MOST = 500  -- jobs of a lane whose time one call moves
local parked = 0
local pausing = redis.call('EXISTS', PAUSED) == 1
local known = {}

local function is_paused(key)
  if not pausing then return false end
  if known[key] == nil then known[key] = redis.call('SISMEMBER', PAUSED, key) == 1 end
  return known[key]
end

local lanes = {}
for _, lane in ipairs(KEYS) do
  if is_lane(lane) and not is_paused(lane) then lanes[#lanes + 1] = lane end
end

local function forget(lane, id)
  redis.call('ZREM', lane, id)
  redis.call('ZREM', lane .. HELD_SUFFIX, id)
  redis.call('ZREM', of_lane(INTERACTIVE, lane), id)
end

-- After the clock went back: what is held until a time that lay ahead of the old clock comes back as much earlier, or
-- the jobs of a dead worker would wait until the clock is there again. A page a call, upwards, since what was moved lies
-- below; a lane is seen to once, since leases taken from now on are by the new clock.
local function set_back(lane)
  local back = redis.call('HMGET', CLOCK_BACK, 'by', 'from', lane)
  if not back[1] or back[3] == 'done' then return end
  local held, by = lane .. HELD_SUFFIX, tonumber(back[1])
  local page = redis.call('ZRANGEBYSCORE', held, back[3] or back[2], '(' .. PARKED, 'WITHSCORES', 'LIMIT', 0, SET_BACK_MOST)
  for i = 1, #page, 2 do
    local due = tonumber(page[i + 1]) - by
    redis.call('ZADD', held, due, page[i])
  end
  redis.call('HSET', CLOCK_BACK, lane, #page < 2 * SET_BACK_MOST and 'done' or page[#page])
end

-- Consecutive unread answers. They cost a job no delivery, so a row that no link brings in time would go round
-- forever, and take with it what is in one answer with it: after a few it comes alone, and in the end without its payload,
-- for its worker to end it. A smaller row than this is not the reason why an answer is not read.
local UNREAD_ALONE = 3
local UNREAD_MOST = 20
local LARGE = 262144

local function unread_of(id)
  return tonumber(redis.call('HGET', JOB .. id, 'unread') or 0)
end

local function comes_alone(id, payload)
  return payload and #payload >= LARGE and unread_of(id) >= UNREAD_ALONE
end

-- Take a job that nobody has read out of the answer that it was in.
local function put_back(lane, id)
  redis.call('DEL', HOLDER .. id)
  redis.call('HINCRBY', JOB .. id, 'deliveries', -1)
  redis.call('HINCRBY', JOB .. id, 'turn', 1)
  redis.call('ZADD', lane .. HELD_SUFFIX, now, id)
  count(batch_of(id), 'running', 'queued')
end

local function answer_with(lane, id, token, payload, past, kept_back)
  local aborted = redis.call('ZSCORE', ABORT, id) and 1 or 0
  jobs[#jobs + 1] = {
    lane, id, token, payload, tonumber(past[1]), past[2] or '', past[3] or '', aborted, tonumber(past[4]), kept_back,
    past[5] and 1 or 0,
  }
  bytes = bytes + #payload
  given[#given + 1] = lane
  given[#given + 1] = id
end

-- Add a job that is held under this token to the answer.
local function give(lane, id, token, payload)
  local kept_back = 0
  if #payload >= LARGE and unread_of(id) >= UNREAD_MOST then
    kept_back, payload = #payload, ''
  end
  redis.call('ZADD', lane .. HELD_SUFFIX, now + lease, id)
  local past = redis.call('HMGET', JOB .. id, 'deliveries', 'ledger', 'lost', 'turn', 'class')
  answer_with(lane, id, token, payload, past, kept_back)
end

-- Whether this call was answered before; jobs still held under its tokens are returned again.
local function given_before()
  local before = redis.call('GET', answer)
  if not before then return false end
  local words = {}
  for word in string.gmatch(before, '[^\n]+') do words[#words + 1] = word end
  for i = 1, #words - 1, 2 do
    local lane, id = words[i], words[i + 1]
    local token = worker .. ':' .. (number + (i - 1) / 2)
    if redis.call('GET', HOLDER .. id) == token then
      local payload = redis.call('GET', PAYLOAD .. id) or ''
      redis.call('HINCRBY', JOB .. id, 'unread', 1)
      if #jobs > 0 and comes_alone(id, payload) then
        put_back(lane, id)
      else
        give(lane, id, token, payload)
      end
    end
  end
  return true
end

-- A holder's lease has ended: it is written down. Where it never said that it had read the answer which gave it the job,
-- the job has spent no delivery; nor does it gather a line for each such claim, of which there may be any number.
local function lose(id, holder)
  local past = redis.call('HMGET', JOB .. id, 'lost', 'answer')
  local lost, unread = past[1] or '', past[2] and redis.call('EXISTS', past[2]) == 1
  if unread then
    redis.call('HINCRBY', JOB .. id, 'deliveries', -1)
    redis.call('HINCRBY', JOB .. id, 'unread', 1)
    lost = string.gsub(lost, '[^ ]+%?%d+ $', '')
  else
    redis.call('HDEL', JOB .. id, 'unread')
  end
  redis.call('HSET', JOB .. id, 'lost', lost .. string.sub(holder, 1, 200) .. (unread and '?' or '@') .. now .. ' ')
end

-- Park a job of a paused batch. `score` is the one it will be restored with.
local function park(lane, id, score)
  local claimed = redis.call('EXISTS', JOB .. id) == 1
  if redis.call('ZREM', of_lane(INTERACTIVE, lane), id) == 1 then
    redis.call('HSET', JOB .. id, 'class', 1, 'lane', lane)
    claimed = true
  end
  redis.call('ZADD', lane, claimed and HELD_AT or PARKED + score, id)
  redis.call('ZADD', lane .. HELD_SUFFIX, PARKED + score, id)
  parked = parked + 1
end

-- What a claimed job is expected to cost, in tokens.
local function tokens_of(payload, mean)
  return math.floor(#payload / 4 + (mean or GUESS))
end

-- Note that a job of the lane's own sorted set, or one that comes back, is charged to its flow, unless it still is.
local function charge_once(lane, id, payload, interactive)
  local past = redis.call('HMGET', JOB .. id, 'charge', 'flow')
  if past[1] or interactive then return end
  local flow, tokens = past[2] or ARQ_FLOW, tokens_of(payload)
  redis.call('HSET', JOB .. id, 'charge', tokens, 'flow', flow)
  charge(lane, flow, tokens)
end

-- A job from a sorted set: the lane's own (`suffix` ''), what comes back (HELD_SUFFIX) or INTERACTIVE.
local function take(lane, id, score, suffix)
  if not is_job_id(id) then
    tell_of(lane, id, 'a member that is not a name')
    return forget(lane, id)
  end
  local held = lane .. HELD_SUFFIX
  local payload = redis.call('GET', PAYLOAD .. id)
  if not payload and redis.call('EXISTS', RESULT .. id) == 1 then
    return forget(lane, id)
  end
  local holder = redis.call('GET', HOLDER .. id)
  if holder then
    -- Stock Job.abort() moves a running job to the front of the queue: put it back.
    if suffix == '' then redis.call('ZADD', lane, 'XX', HELD_AT, id) end
    if grace then return end
    if tonumber(redis.call('ZSCORE', held, id) or 0) > now then return end
  end
  local batch = batch_of(id)
  -- A job that is to be cancelled goes to a worker, which ends it.
  if batch and is_paused(batch) and not redis.call('ZSCORE', ABORT, id) then
    if holder then
      lose(id, holder)
      redis.call('DEL', HOLDER .. id)
      count(batch, 'running', 'queued')
    end
    return park(lane, id, score)
  end
  local alone = comes_alone(id, payload)
  if #jobs > 0 and (alone or bytes + #(payload or '') > most_bytes) then
    cut = true
    return
  end
  if holder then lose(id, holder) end
  if batch and not holder then started[batch] = (started[batch] or 0) + 1 end
  local token = worker .. ':' .. number
  number = number + 1
  redis.call('SET', HOLDER .. id, token)
  redis.call('PERSIST', PAYLOAD .. id)
  local job = job_of(id)
  if job.class or not job.turn then
    local interactive = redis.call('ZREM', of_lane(INTERACTIVE, lane), id) == 1
    if interactive and not job.class then
      redis.call('HSET', JOB .. id, 'class', 1)
      job.class = '1'
    end
  end
  local was_there = redis.call('ZADD', lane, HELD_AT, id) == 0
  if batch and not holder and not was_there and not job.turn then note_gone(batch, lane) end
  redis.call('HSET', JOB .. id, 'lane', lane, 'answer', answer)
  redis.call('HINCRBY', JOB .. id, 'deliveries', 1)
  redis.call('HINCRBY', JOB .. id, 'turn', 1)
  charge_once(lane, id, payload or '', job.class)
  give(lane, id, token, payload or '')
  if alone then cut = true end
end

-- The due jobs of one sorted set of each lane, earliest first.
local function due(key_of, most)
  local found = {}
  for _, lane in ipairs(lanes) do
    local page = redis.call('ZRANGEBYSCORE', key_of(lane), '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
    for i = 1, #page, 2 do
      found[#found + 1] = {lane, page[i], tonumber(page[i + 1])}
    end
  end
  if #lanes > 1 then table.sort(found, function(a, b) return a[3] < b[3] end) end
  return found
end

local function held_of(lane) return lane .. HELD_SUFFIX end
local function interactive_of(lane) return of_lane(INTERACTIVE, lane) end

-- Jobs to be cancelled that were lost with their worker are ended even if their lane is paused.
local function take_cancelled(lane)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', lane .. HELD_SUFFIX, '-inf', now, 'LIMIT', 0, 100)) do
    if #jobs < want and not cut and redis.call('ZSCORE', ABORT, id) then take(lane, id, now, HELD_SUFFIX) end
  end
end

-- Take from the sorted sets of this kind until there are `limit` jobs.
local function take_due(key_of, limit)
  local most = limit - #jobs
  repeat
    local before = parked
    for _, found in ipairs(most > 0 and due(key_of, most) or {}) do
      if #jobs >= limit or cut then break end
      take(found[1], found[2], found[3], HELD_SUFFIX)
    end
    most = 100  -- where one job is parked, more probably are
  until parked == before or parked >= PARK_MOST or #jobs >= limit or cut
end

-- What is fair in each lane: its clock, the virtual time of the jobs in its own sorted set, and who is served next.
local fair = {}
local interactive_lately = false
for _, lane in ipairs(lanes) do
  local h = redis.call('HMGET', of_lane(FAIR, lane), 'clock', 'arq', 'interactive')
  fair[lane] = {
    key = of_lane(FAIR, lane), index = of_lane(FLOWS, lane), clock = tonumber(h[1] or 0), arq = tonumber(h[2] or 0),
    interactive = h[3], page = {}, at = 1, more = true,
  }
  if h[3] and now - tonumber(h[3]) < RESERVED_FOR then interactive_lately = true end
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

-- Between lanes whose flows cannot be compared: how far those of each have come on average in claims like this one.
local progress = {}
if #KEYS > 1 then
  local fields = {}
  for i, lane in ipairs(KEYS) do fields[i] = 'lane:' .. of_lane('', lane) end
  local h = redis.call('HMGET', of_lane(FAIR, KEYS[1]), unpack(fields))
  for i, lane in ipairs(KEYS) do progress[lane] = h[i] and tonumber(h[i]) end
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
    take(lane, job[1], job[2], '')
    if #jobs > before then tokens = tokens + tokens_of(jobs[#jobs][4]) end
    if cut then break end
    f.at = f.at + 1
  end
  f.arq = f.arq + tokens
  return tokens, 1
end

local batches = {}  -- what is known of the batches of flows: mean completion, owner

local function batch_named(name)
  local b = batches[name]
  if not b then
    local h = redis.call('HMGET', BATCH .. name, 'created', 'completed', 'completion_tokens')
    local completed = tonumber(h[2] or 0)
    b = {exists = h[1], mean = completed > 0 and tonumber(h[3] or 0) / completed or GUESS}
    batches[name] = b
  end
  return b
end

-- Claim one row of a flow: nothing is known of it yet, so this is the short way. Returns its cost, or nil if the row has
-- ended, and false if it does not fit any more.
local skipped = 0

local function take_row(lane, id, flow, mean)
  local payload = redis.call('GET', PAYLOAD .. id)
  if not payload or redis.call('EXISTS', JOB .. id, HOLDER .. id) > 0 then
    skipped = skipped + 1
    return nil
  end
  if #jobs > 0 and bytes + #payload > most_bytes then
    cut = true
    return false
  end
  local token, tokens = worker .. ':' .. number, tokens_of(payload, mean)
  number = number + 1
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
      cost = take_row(lane, id, flow, b.mean)
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
    started[batch] = (started[batch] or 0) + taken
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
    f.head, f.served, f.clock = nil, true, math.max(f.clock, head.at)
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
  for _, lane in ipairs(#KEYS > 1 and lanes or {}) do
    local field = 'lane:' .. of_lane('', lane)
    if progress[lane] and head_of(lane) then
      redis.call('HSET', of_lane(FAIR, KEYS[1]), field, progress[lane] - least)
    elseif progress[lane] then
      redis.call('HDEL', of_lane(FAIR, KEYS[1]), field)
    end
  end
end

if redis.call('EXISTS', CLOCK_BACK) == 1 then
  for _, lane in ipairs(KEYS) do set_back(lane) end
end

local reserved = 0
if not given_before() then
  for _, lane in ipairs(KEYS) do
    if is_paused(lane) then take_cancelled(lane) end
  end
  local any_interactive = false
  for _, lane in ipairs(lanes) do any_interactive = any_interactive or fair[lane].interactive end
  if any_interactive then take_due(interactive_of, want) end
  local most = want
  if interactive_lately then
    most = math.min(want, #jobs + batch_most)
  end
  -- Neither starves the other, however many jobs come back and however large they are.
  local half = #jobs + math.ceil((most - #jobs) / 2)
  if first_half == 'back' then
    take_due(held_of, half)
    take_new(most)
    take_due(held_of, most)
  else
    take_new(half)
    take_due(held_of, most)
    take_new(most)
  end
  note_progress()
  if most < want and #jobs >= most then reserved = 1 end
  if #jobs > 0 then redis.call('SET', answer, table.concat(given, '\n'), 'PX', ANSWER_LIFE) end
end

for batch, n in pairs(started) do
  redis.call('HINCRBY', batch, 'queued', -n)
  redis.call('HINCRBY', batch, 'running', n)
  redis.call('HSETNX', batch, 'first', now)
end

local next_due = -1
local function note_due(at)
  if at and (next_due < 0 or at < next_due) then next_due = math.ceil(at) end
end

local function head_score(key, before)
  local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  local at = head[2] and head[2] ~= 'inf' and tonumber(head[2])
  return at and at < before and math.max(at, 0) or nil
end

for _, lane in ipairs(lanes) do
  if fair[lane].interactive then note_due(head_score(interactive_of(lane), PARKED)) end
  if reserved == 0 then
    if redis.call('EXISTS', fair[lane].index) == 1 then note_due(now) end
    note_due(head_score(lane, HELD_AT))
    note_due(head_score(held_of(lane), PARKED))
  end
end
if grace and next_due >= 0 then next_due = math.max(next_due, now + redis.call('PTTL', GRACE)) end
return {now, next_due, jobs, cut and 1 or 0, reserved}
