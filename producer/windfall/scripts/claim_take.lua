-- Taking jobs out of a lane on behalf of one worker, and the answer that it gets. claim_fair.lua says which jobs, and
-- claim.lua in which order.

local ANSWER_LIFE = 24 * HOUR  -- far beyond a lease: reclaiming a job checks whether its holder had read the answer
local SKIP_MOST = 500  -- rows that ended while they waited, and that one call passes over
local PARK_MOST = 500  -- jobs that one call parks, so that every call is short; the next call continues
-- Tokens of a completion, for a batch that has none yet. Low, because what is charged too much is given back: it would let
-- those that began with it fall far below one who came meanwhile.
local GUESS = 16

-- The claim: who asks, under which number, for what.
local asked_lanes, worker, number, want, lease, most_bytes
local now, grace, answer
-- What it has come to.
local lanes  -- those of them that are not paused
local jobs, bytes, cut
local given  -- the stored form of the answer: lanes and ids
local started  -- batch -> how many of its rows
local parked, skipped
local pausing, known
local batches  -- what is known of the batches of flows

local function is_paused(key)
  if not pausing then return false end
  if known[key] == nil then known[key] = redis.call('SISMEMBER', PAUSED, key) == 1 end
  return known[key]
end

local function forget(lane, id)
  redis.call('ZREM', lane, id)
  redis.call('ZREM', lane .. HELD_SUFFIX, id)
  redis.call('ZREM', of_lane(INTERACTIVE, lane), id)
end

local function begin_claim(claim)
  asked_lanes, worker, number, want = claim.lanes, claim.worker, claim.number, claim.want
  lease, most_bytes, now = claim.lease, claim.most_bytes, claim.now
  grace = redis.call('EXISTS', GRACE) == 1
  answer = ANSWER .. worker .. ':' .. number
  jobs, bytes, cut, given, started, parked, skipped = {}, 0, false, {}, {}, 0, 0
  pausing, known, batches = redis.call('EXISTS', PAUSED) == 1, {}, {}
  lanes = {}
  for _, lane in ipairs(asked_lanes) do
    if is_lane(lane) and not is_paused(lane) then lanes[#lanes + 1] = lane end
  end
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

-- A holder's lease has ended: it is written down, and counted for `windfall fleet`. Where it never said that it had read
-- the answer which gave it the job, the job has spent no delivery; nor does it gather a line for each such claim, of which
-- there may be any number.
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
  local name = string.match(string.sub(holder, 1, 200), '^(.*):%d+$')
  if name and name ~= worker then
    redis.call('HINCRBY', LOST, name, 1)
    redis.call('PEXPIRE', LOST, 7200000)
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

-- What a claimed job is expected to cost, in tokens.
local function tokens_of(payload, mean)
  return math.floor(#payload / 4 + (mean or GUESS))
end

-- Note that a job of the lane's own sorted set, or one that comes back, is charged to its flow, unless it still is.
local function charge_once(lane, id, payload, interactive)
  local past = redis.call('HMGET', JOB .. id, 'charge', 'flow')
  if past[1] or interactive then return end
  local flow = past[2] or ARQ_FLOW
  local name = string.match(flow, '^([^:]+):')
  local tokens = tokens_of(payload, name and batch_named(name).mean)
  redis.call('HSET', JOB .. id, 'charge', tokens, 'flow', flow)
  charge(lane, flow, tokens)
end

local FROM_SET, FROM_HELD, FROM_LIST = 1, 2, 3  -- the lane's own sorted set, what comes back or is interactive, a flow

local function take(lane, id, score, from)
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
    if from == FROM_SET then redis.call('ZADD', lane, 'XX', HELD_AT, id) end
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
  if batch and not holder and from == FROM_HELD and not was_there and not job.turn then note_gone(batch, lane) end
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
    if #jobs < want and not cut and redis.call('ZSCORE', ABORT, id) then take(lane, id, now, FROM_HELD) end
  end
end

-- Take from the sorted sets of this kind until there are `limit` jobs.
local function take_due(key_of, limit)
  local most = limit - #jobs
  repeat
    local before = parked
    for _, found in ipairs(most > 0 and due(key_of, most) or {}) do
      if #jobs >= limit or cut then break end
      take(found[1], found[2], found[3], FROM_HELD)
    end
    most = 100  -- where one job is parked, more probably are
  until parked == before or parked >= PARK_MOST or #jobs >= limit or cut
end
