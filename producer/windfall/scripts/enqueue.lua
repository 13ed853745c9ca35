-- Add jobs to one lane; a job that already exists, or has its result, is left alone. Rows of a batch join its flows, by
-- priority; single jobs, and interactive ones, go into the lane's own sorted set.
-- KEYS: lane.  ARGV: batch id or '', 1 if the jobs are interactive, then for each job: id, priority, deadline (ms;
-- 0 = none), payload. Without any job it only reports that the batch's submitter is alive.
-- Returns how many were added, -1 if the batch was cancelled and accepts no more, -2 if there is no such batch, or -3
-- if a row could not be added because another program's job has its id.
local lane, interactive = KEYS[1], ARGV[2] == '1'
local batch = ARGV[1] ~= '' and BATCH .. ARGV[1] or nil
if #ARGV > 2 and not is_lane(lane) then return refuse('no name of a lane') end
if batch then
  local refused = no_more_rows(batch)
  if refused then return refused end
end

local now = clock()
local rows, taken = batch and tonumber(redis.call('HGET', batch, 'rows')) or 0, false
local added, last = 0, 0
local flows = {}  -- priority -> the numbers of the rows that join this flow
local new = {}
for i = 3, #ARGV, 4 do
  local id, priority, deadline, payload = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3]
  if batch and not is_row_of(id, ARGV[1]) or not batch and not is_job_id(id) then return refuse('no id of a job') end
  if redis.call('EXISTS', PAYLOAD .. id, RESULT .. id, DEAD .. id) == 0 then
    redis.call('SET', PAYLOAD .. id, payload)
    if interactive then
      redis.call('ZADD', lane, HELD_AT, id)
      wait_interactively(lane, id, now + added / 1000)
    elseif batch then
      priority = string.format('%d', math.max(-9, math.min(priority, 9)))
      flows[priority] = flows[priority] or {}
      table.insert(flows[priority], string.sub(id, #ARGV[1] + 2))
    else
      -- The fraction keeps jobs that arrive in the same millisecond in order.
      redis.call('ZADD', lane, queue_score(now, priority) + added / 1000, id)
    end
    if deadline > 0 then redis.call('ZADD', DEADLINES, deadline, id) end
    added = added + 1
    new[added] = id
    if batch then last = math.max(last, row_of(id)) end
  elseif batch and row_of(id) > rows then
    taken = true
    break
  end
end

-- Another program's job would be counted as a row of the batch, so none of this call's rows is added.
if taken then
  for _, id in ipairs(new) do
    redis.call('DEL', PAYLOAD .. id)
    redis.call('ZREM', DEADLINES, id)
    if interactive then
      redis.call('ZREM', lane, id)
      redis.call('ZREM', of_lane(INTERACTIVE, lane), id)
    end
  end
  return -3
end

-- Stock Job.abort() of an id that was used before leaves its entry behind.
if added > 0 and redis.call('EXISTS', ABORT) == 1 then redis.call('ZREM', ABORT, unpack(new)) end

local function join(priority, numbers, shelved)
  redis.call('RPUSH', list_of(lane, ARGV[1], priority), unpack(numbers))
  redis.call('HSETNX', batch, time_field(lane, priority), 0)
  if not shelved then enter(lane, ARGV[1], priority, valid_owner(redis.call('HGET', batch, 'owner'))) end
end

if batch and (added > 0 or redis.call('HEXISTS', batch, 'sealed') == 0) then keep_from(batch, now) end
if added > 0 then
  if batch then
    redis.call('HINCRBY', batch, 'total', added)
    redis.call('HINCRBY', batch, 'queued', added)
    note_rows(batch, last)
    if redis.call('HEXISTS', batch, 'finished') == 1 then reopen(batch) end
  end
  if next(flows) then
    local shelved = redis.call('SISMEMBER', SHELVED, ARGV[1]) == 1
    for priority, numbers in pairs(flows) do join(priority, numbers, shelved) end
    redis.call('HINCRBY', batch, waiting_field(lane), added)
    redis.call('HINCRBY', of_lane(FAIR, lane), shelved and 'parked' or 'waiting', added)
  end
  if interactive then
    redis.call('HSET', of_lane(FAIR, lane), 'interactive', now)
    if batch then redis.call('HSETNX', batch, time_field(lane, 0), 0) end  -- a batch knows its lanes by its flows
  end
  note_lane(lane)
  redis.call('PUBLISH', CHANNEL_WAKE .. lane, added)
end
return added
