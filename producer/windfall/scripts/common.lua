-- Shared by every script; preceded by the names from keys.py and by guard.lua. Redis TIME is the only clock, in milliseconds.

local HOUR = 3600000

local DIGITS = 15     -- of a row's number
local PAGE_MOST = 500  -- rows per call, whatever the caller asks for: every call is short

-- Redis refuses a script that would write while its memory is full, unless the script has written already; DEL is never
-- refused. Scripts that end or keep jobs begin with this, so that a full Redis stops producers but not workers.
local function although_full()
  redis.call('DEL', GRACE .. ':none')
end

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- The batch hash that a job is counted in, or nil for a job on its own. A row number beyond the
-- batch's rows is a job of another program that happens to have such a name.
local function batch_of(id)
  local batch, row = string.match(id, '^([^:%s]+):([1-9]%d*)$')
  if batch and #row <= DIGITS and tonumber(row) <= tonumber(redis.call('HGET', BATCH .. batch, 'rows')) then
    return BATCH .. batch
  end
  return nil
end

-- High priority first, as if enqueued an hour earlier per level. Lowest priority is the present, so that no job that is
-- due has a score in the future: the future belongs to leases and to jobs put back for later.
local function queue_score(now, priority)
  return now - (priority + 9) * HOUR
end

-- A lane has jobs: add it to the lanes, and restart tidy.lua's count of its idle time.
local function note_lane(lane)
  redis.call('SADD', LANES, lane)
  redis.call('ZREM', IDLE_LANES, lane)
end

local function count(batch, from, to)
  if not batch then return end
  if from then redis.call('HINCRBY', batch, from, -1) end
  if to then redis.call('HINCRBY', batch, to, 1) end
end

-- Nothing of a batch expires by itself, or early results would go before the last one comes: the batch has one time
-- until which it is kept as a whole, and delete.lua then removes it page by page. A batch that is being removed is not
-- moved on, or the next sweep would not go on with it. Whoever is still submitting is heard of every second, unless a
-- source holds its thread up.
local SUBMITTER_HEARD_WITHIN = 10000

local function keep_from(batch, now)
  local h = redis.call('HMGET', batch, 'keep', 'deleted', 'sealed')
  local keep = tonumber(h[1] or 0)
  if keep == 0 or h[2] then return end
  if not h[3] then keep = math.max(keep, SUBMITTER_HEARD_WITHIN) end
  redis.call('ZADD', KEPT, now + keep, string.sub(batch, #BATCH + 1))
end

-- A batch that has ended is no longer paused; if some of it is retried, it runs.
local function unpause(batch)
  redis.call('SREM', PAUSED, batch)
  redis.call('SREM', RESUMING, string.sub(batch, #BATCH + 1))
  redis.call('HDEL', batch, 'paused', 'resumed')
end

-- A batch ends when all rows are in and none is open: its retention starts then.
local function close_if_done(batch, now)
  local h = redis.call('HMGET', batch, 'sealed', 'queued', 'running')
  if h[1] == '1' and tonumber(h[2] or 0) == 0 and tonumber(h[3] or 0) == 0 then
    redis.call('HSETNX', batch, 'finished', now)
    keep_from(batch, now)
    drop_flows(batch)
    unpause(batch)
  end
end

local function row_of(id)
  return tonumber(string.match(id, ':(%d+)$'))
end

local function is_row_of(id, name)
  return #id <= #name + 1 + DIGITS and string.sub(id, 1, #name + 1) == name .. ':' and string.find(id, '^[1-9]%d*$', #name + 2) ~= nil
end

-- Why a batch accepts no rows, or nil.
local function no_more_rows(batch)
  if not batch_id_of(batch) then return -2 end
  local h = redis.call('HMGET', batch, 'created', 'cancel', 'deleted')
  if not h[1] or h[3] then return -2 end
  if h[2] == '1' then return -1 end
  return nil
end

-- Rows were added: the highest number is where the pages of cancel.lua and delete.lua end.
local function note_rows(batch, last)
  if last > tonumber(redis.call('HGET', batch, 'rows') or 0) then redis.call('HSET', batch, 'rows', last) end
end

-- Lanes that one call searches for jobs whose lane is unknown: someone may have created millions of lanes.
local looks_left = 10000

local NO_LANE = LANE .. 'none'  -- the lane of a job that is in none: a key that never exists

-- The lane of a job, or nil if it is in none: as recorded by its claim, else the one that its request names, else wherever
-- it is found. A row in a flow's list cannot be searched for, but its batch knows the lanes of its flows.
local function known_lane(id, named)
  local known = redis.call('HGET', JOB .. id, 'lane')
  if known and is_lane(known) then return known end
  if not named or not is_lane(named) then named = nil end
  if named and redis.call('ZSCORE', named, id) then return named end
  local batch = batch_of(id)
  if batch and named and redis.call('HEXISTS', batch, waiting_field(named)) == 1 then return named end
  for _, lane in ipairs(redis.call('SRANDMEMBER', LANES, looks_left)) do
    looks_left = looks_left - 1
    if is_lane(lane) and redis.call('ZSCORE', lane, id) then return lane end
  end
  local flows = batch and flows_of(batch) or {}
  return flows[1] and flows[1][1] or nil
end

local function lane_of(id, named)
  return known_lane(id, named) or named and is_lane(named) and named or NO_LANE
end

-- For the pages of a batch: finds the lane of a row, or nil for one that is in none, or waits in a flow.
local function lane_finder(batch)
  local listed, flows, last = redis.call('HGET', batch, 'listed'), flows_of(batch), ''
  return function(id)
    if not listed then
      last = lane_of(id, last)  -- most likely that of the previous row
      return last
    end
    local known = redis.call('HGET', JOB .. id, 'lane')
    if known and is_lane(known) then return known end
    for _, flow in ipairs(flows) do
      if redis.call('ZSCORE', flow[1], id) then return flow[1] end
    end
    return nil
  end
end

-- Notify the worker of a token; a token that no claim issued names none.
local function tell_worker(token, word)
  local worker = string.match(token, '^(.*):%d+$')
  if worker then redis.call('PUBLISH', CHANNEL_WORKER .. worker, word) end
end

-- Whether the job under this id is the one that the caller read or was given: its batch may have been deleted in the
-- meantime, and the id used again for other rows.
local function is_same_job(id, digest)
  local payload = redis.call('GET', PAYLOAD .. id)
  return payload and redis.sha1hex(payload) == digest
end

-- Whether a job's holder may still be alive: its lease has not ended, or an outage kept it from renewing.
local function is_leased(id, lane, now)
  local leased_until = tonumber(redis.call('ZSCORE', lane .. HELD_SUFFIX, id) or 0)
  return leased_until > now or redis.call('EXISTS', GRACE) == 1
end

-- Whether the job under this id is not the one that the caller read ('' = there was none).
local function is_another_job(id, digest)
  if not redis.sha1hex then return false end  -- fakeredis, whose one process is its only user
  return redis.call('EXISTS', PAYLOAD .. id) == 1 and not is_same_job(id, digest)
end

local function reopen(batch)
  redis.call('HDEL', batch, 'finished')
end

-- Keep the request of a job that failed for good, so that it can be run again.
local function bury(id, lane, now, keep, turn, flow)
  local payload = redis.call('GET', PAYLOAD .. id)
  if not payload then return end
  redis.call('HSET', DEAD .. id, 'payload', payload, 'lane', lane, 'turn', turn or 0)
  if flow then redis.call('HSET', DEAD .. id, 'flow', flow) end
  redis.call('ZADD', DEAD_INDEX, now, id)
  if keep > 0 then
    redis.call('PEXPIRE', DEAD .. id, keep)
    redis.call('ZADD', LETTERS, now + keep, id)  -- tidy.lua clears the index
  end
end

-- What a flow was charged for a job was an estimate. One that failed without tokens may have run for long: it stays.
local function correct_charge(lane, job, state, spent)
  local charged, flow = tonumber(job.charge or 0), job.flow
  if not flow then return end
  if spent > 0 then
    charge(lane, flow, spent - charged)
  elseif state == 'cancelled' then
    charge(lane, flow, -charged)
  end
end

-- Take an ended job out of wherever it waited.
local function leave_lane(id, lane, from, batch, job)
  local was_there = redis.call('ZREM', lane, id) == 1
  redis.call('ZREM', lane .. HELD_SUFFIX, id)
  if job.class or not job.turn then redis.call('ZREM', of_lane(INTERACTIVE, lane), id) end
  redis.call('ZREM', ABORT, id)
  redis.call('ZREM', DEADLINES, id)
  if batch and from == 'queued' and not was_there and not job.turn then note_gone(batch, lane) end
end

local function job_of(id)
  local h = redis.call('HMGET', JOB .. id, 'turn', 'flow', 'charge', 'class')
  return {turn = h[1], flow = h[2], charge = h[3], class = h[4]}
end

-- Write the one result of a job, forget the job, count it into its batch and announce it. `from` is the state that it
-- was counted in, or nil for a row that was never a job; `spent` are the tokens of its completion.
local function settle(id, lane, from, state, result, keep, spent)
  local now = clock()
  local batch, job = batch_of(id), {}
  if batch then keep = 0 end  -- its batch determines the retention
  if from then
    job = job_of(id)
    correct_charge(lane, job, state, spent or 0)
  end
  if state == 'failed' then bury(id, lane, now, keep, job.turn, job.flow) end
  redis.call('DEL', PAYLOAD .. id, HOLDER .. id, TRIES .. id, JOB .. id)
  if from then leave_lane(id, lane, from, batch, job) end
  if keep > 0 then
    redis.call('SET', RESULT .. id, result, 'PX', keep)
  else
    redis.call('SET', RESULT .. id, result)
  end
  if batch then
    count(batch, from, state)
    local entry = redis.call('XADD', batch .. DONE_SUFFIX, '*', 'i', id, 's', state)
    if state == 'failed' and redis.call('EXISTS', DEAD .. id) == 1 then
      redis.call('HSET', DEAD .. id, 'entry', entry)
    end
    close_if_done(batch, now)
  end
  if redis.call('EXISTS', DELTAS .. id) == 1 then
    redis.call('XADD', DELTAS .. id, '*', 'end', state)
    redis.call('PEXPIRE', DELTAS .. id, HOUR)
  end
  redis.call('PUBLISH', CHANNEL_DONE .. id, state)
end

-- Notice an outage: if no worker has called for longer than one renewal period and a half, the owners of running jobs
-- could not renew either, and get the same time again to come back before their jobs are reclaimed. The same goes
-- for a clock that has gone back: claim.lua then moves the ends of leases back with it.
local function pulse(now, beat)
  local last = tonumber(redis.call('GET', PULSE) or now)
  redis.call('SET', PULSE, now)
  if math.abs(now - last) > 1.5 * beat then
    redis.call('SET', GRACE, now + 1.5 * beat, 'PX', math.ceil(1.5 * beat))
  end
  if last - now > 1.5 * beat then
    redis.call('DEL', CLOCK_BACK)
    redis.call('HSET', CLOCK_BACK, 'by', last - now, 'from', last)
    redis.call('PEXPIRE', CLOCK_BACK, last - now)
  end
end
