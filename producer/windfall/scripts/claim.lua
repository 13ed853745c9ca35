-- Take up to `want` jobs of some lanes in one round trip, and no more bytes than a slow link brings in time: half of them
-- from what comes back (lost leases, retries and snoozes that are due), half from the lanes' queues, merged in their
-- order, and all from one of the two where nothing waits in the other. A taken job's score is the end of its lease, so
-- nobody else sees it. Paused lanes are passed over. Jobs of a paused batch are parked: they stay where they are, with a
-- score that lies beyond every time, until the batch is resumed.
-- KEYS: lanes.  ARGV: worker id, first token number, want, lease (ms), renewal period (ms), most bytes of payloads (one
-- job is given in any case), which half goes first: 'back' or 'new'.
-- Returns {now, when the next one is due (ms, or -1), jobs, 1 if bytes cut it short}, a job being
-- {lane, id, token, payload or '', deliveries, ledger, lost holders, 1 if it was cancelled meanwhile, turn, bytes of a
-- payload that is kept back because no answer with it was read, else 0}.
-- A call that is made again under the same token number, because its answer was lost on the way, gets the same answer.
-- Its worker deletes the answer when it has read it: a job whose holder never did has spent no delivery.
although_full()
local worker, number, want = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local lease, beat = tonumber(ARGV[4]), tonumber(ARGV[5])
local most_bytes, first_half = tonumber(ARGV[6]), ARGV[7]
local now = clock()
pulse(now, beat)
local grace = redis.call('EXISTS', GRACE) == 1
local ANSWER_LIFE = 24 * HOUR  -- far beyond a lease: reclaiming a job checks whether its holder had read the answer
local answer = ANSWER .. worker .. ':' .. number
local jobs, bytes, cut = {}, 0, false
local given = {}  -- the stored form of the answer: lanes and ids
local started = {}

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
  if not is_paused(lane) then lanes[#lanes + 1] = lane end
end

local function forget(lane, id)
  redis.call('ZREM', lane, id)
  redis.call('ZREM', lane .. HELD_SUFFIX, id)
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
    redis.call('ZADD', lane, 'XX', due, page[i])
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
  redis.call('ZADD', lane, now, id)
  redis.call('ZADD', lane .. HELD_SUFFIX, now, id)
  count(batch_of(id), 'running', 'queued')
end

-- Add a job that is held under this token to the answer.
local function give(lane, id, token, payload)
  local kept_back = 0
  if #payload >= LARGE and unread_of(id) >= UNREAD_MOST then
    kept_back, payload = #payload, ''
  end
  redis.call('ZADD', lane, now + lease, id)
  redis.call('ZADD', lane .. HELD_SUFFIX, now + lease, id)
  local past = redis.call('HMGET', JOB .. id, 'deliveries', 'ledger', 'lost', 'turn')
  local aborted = redis.call('ZSCORE', ABORT, id) and 1 or 0
  jobs[#jobs + 1] = {
    lane, id, token, payload, tonumber(past[1]), past[2] or '', past[3] or '', aborted, tonumber(past[4]),
    kept_back,
  }
  bytes = bytes + #payload
  given[#given + 1] = lane
  given[#given + 1] = id
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
  redis.call('ZADD', lane, PARKED + score, id)
  redis.call('ZADD', lane .. HELD_SUFFIX, PARKED + score, id)
  parked = parked + 1
end

local function take(lane, id, score)
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
    if grace then return end
    local until_ms = tonumber(redis.call('ZSCORE', held, id) or 0)
    if until_ms > now then
      -- Stock Job.abort() moves a running job to the front of the queue: put it back under its lease.
      redis.call('ZADD', lane, 'XX', until_ms, id)
      return
    end
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
  redis.call('HSET', JOB .. id, 'lane', lane, 'answer', answer)
  redis.call('HINCRBY', JOB .. id, 'deliveries', 1)
  redis.call('HINCRBY', JOB .. id, 'turn', 1)
  give(lane, id, token, payload or '')
  if alone then cut = true end
end

-- The due jobs of these sorted sets, earliest first.
local function due(suffix, most)
  local found = {}
  for _, lane in ipairs(lanes) do
    local page = redis.call('ZRANGEBYSCORE', lane .. suffix, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
    for i = 1, #page, 2 do
      found[#found + 1] = {lane, page[i], tonumber(page[i + 1])}
    end
  end
  if #lanes > 1 then table.sort(found, function(a, b) return a[3] < b[3] end) end
  return found
end

-- Jobs to be cancelled that were lost with their worker are ended even if their lane is paused.
local function take_cancelled(lane)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', lane .. HELD_SUFFIX, '-inf', now, 'LIMIT', 0, 100)) do
    if #jobs < want and not cut and redis.call('ZSCORE', ABORT, id) then take(lane, id) end
  end
end

-- Take from the sorted sets of this suffix until there are `limit` jobs.
local function take_due(suffix, limit)
  local most = limit - #jobs
  repeat
    local before = parked
    for _, found in ipairs(most > 0 and due(suffix, most) or {}) do
      if #jobs >= limit or cut then break end
      take(found[1], found[2], found[3])
    end
    most = 100  -- where one job is parked, more probably are
  until parked == before or parked >= PARK_MOST or #jobs >= limit or cut
end

if redis.call('EXISTS', CLOCK_BACK) == 1 then
  for _, lane in ipairs(KEYS) do set_back(lane) end
end

if not given_before() then
  for _, lane in ipairs(KEYS) do
    if is_paused(lane) then take_cancelled(lane) end
  end
  -- Neither starves the other, however many jobs come back and however large they are.
  local half = #jobs + math.ceil((want - #jobs) / 2)
  if first_half == 'back' then
    take_due(HELD_SUFFIX, half)
    take_due('', want)
  else
    take_due('', half)
    take_due(HELD_SUFFIX, want)
    take_due('', want)
  end
  if #jobs > 0 then redis.call('SET', answer, table.concat(given, '\n'), 'PX', ANSWER_LIFE) end
end

for batch, n in pairs(started) do
  redis.call('HINCRBY', batch, 'queued', -n)
  redis.call('HINCRBY', batch, 'running', n)
  redis.call('HSETNX', batch, 'first', now)
end

local next_due = -1
for _, lane in ipairs(lanes) do
  local head = redis.call('ZRANGE', lane, 0, 0, 'WITHSCORES')
  if head[2] and head[2] ~= 'inf' then
    local at = math.ceil(tonumber(head[2]))
    if next_due < 0 or at < next_due then next_due = at end
  end
end
if grace and next_due >= 0 then next_due = math.max(next_due, now + redis.call('PTTL', GRACE)) end
return {now, next_due, jobs, cut and 1 or 0}
