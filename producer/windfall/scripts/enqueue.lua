-- Add jobs to one lane; a job that already exists, or has its result, is left alone.
-- KEYS: lane.  ARGV: batch id or '', then for each job: id, priority, deadline (ms; 0 = none), payload. Without any job
-- it only reports that the batch's submitter is alive.
-- Returns how many were added, -1 if the batch was cancelled and accepts no more, -2 if there is no such batch, or -3
-- if a row could not be added because another program's job has its id.
local lane = KEYS[1]
local batch = ARGV[1] ~= '' and BATCH .. ARGV[1] or nil
if #ARGV > 1 and not is_lane(lane) then return refuse('no name of a lane') end
if batch then
  local refused = no_more_rows(batch)
  if refused then return refused end
end

local now = clock()
local rows, taken = batch and tonumber(redis.call('HGET', batch, 'rows')) or 0, false
local added, last = 0, 0
for i = 2, #ARGV, 4 do
  local id, priority, deadline, payload = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3]
  if batch and not is_row_of(id, ARGV[1]) or not batch and not is_job_id(id) then return refuse('no id of a job') end
  if redis.call('EXISTS', PAYLOAD .. id, RESULT .. id, DEAD .. id) == 0 then
    redis.call('SET', PAYLOAD .. id, payload)
    -- The fraction keeps rows that arrive in the same millisecond in order.
    redis.call('ZADD', lane, queue_score(now, priority) + added / 1000, id)
    redis.call('ZREM', ABORT, id)
    if deadline > 0 then redis.call('ZADD', DEADLINES, deadline, id) end
    added = added + 1
    if batch then last = math.max(last, row_of(id)) end
  elseif batch and row_of(id) > rows then
    taken = i
    break
  end
end

if taken then
  -- Another program's job would be counted as a row of the batch, so none of this call's rows is added.
  for i = 2, taken - 1, 4 do
    local id = ARGV[i]
    if row_of(id) > rows and redis.call('ZREM', lane, id) == 1 then
      redis.call('DEL', PAYLOAD .. id)
      redis.call('ZREM', DEADLINES, id)
    end
  end
  return -3
end
if batch and (added > 0 or redis.call('HEXISTS', batch, 'sealed') == 0) then keep_from(batch, now) end
if added > 0 then
  if batch then
    redis.call('HINCRBY', batch, 'total', added)
    redis.call('HINCRBY', batch, 'queued', added)
    note_rows(batch, last)
    if redis.call('HEXISTS', batch, 'finished') == 1 then reopen(batch) end
  end
  note_lane(lane)
  redis.call('PUBLISH', CHANNEL_WAKE .. lane, added)
end
return added
