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
local now_ms, beat = clock(), tonumber(ARGV[5])
local first_half, batch_most = ARGV[7], tonumber(ARGV[8] or ARGV[3])
pulse(now_ms, beat)
begin_claim({
  lanes = KEYS, worker = ARGV[1], number = tonumber(ARGV[2]), want = tonumber(ARGV[3]), lease = tonumber(ARGV[4]),
  most_bytes = tonumber(ARGV[6]), now = now_ms,
})
look_at_lanes()

local SET_BACK_MOST = 500  -- jobs of a lane whose time one call moves

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

if redis.call('EXISTS', CLOCK_BACK) == 1 then
  for _, lane in ipairs(asked_lanes) do set_back(lane) end
end

local reserved = 0
if not given_before() then
  for _, lane in ipairs(asked_lanes) do
    if is_paused(lane) then take_cancelled(lane) end
  end
  take_interactive(want)
  local most = interactive_lately and math.min(want, #jobs + batch_most) or want
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
