-- Give rows that cannot become jobs their failed results.
-- ARGV: batch id, then for each row: id, result.
-- Returns as enqueue.lua does.
local batch = BATCH .. ARGV[1]
local refused = no_more_rows(batch)
if refused then return refused end
local added, rows, taken = 0, tonumber(redis.call('HGET', batch, 'rows')), false
for i = 2, #ARGV, 2 do
  local id, result = ARGV[i], ARGV[i + 1]
  if not is_row_of(id, ARGV[1]) then return refuse('a row of another batch') end
  if redis.call('EXISTS', PAYLOAD .. id, RESULT .. id, DEAD .. id) == 0 then
    redis.call('HINCRBY', batch, 'total', 1)
    note_rows(batch, row_of(id))  -- first, because only known rows of the batch are counted
    settle(id, nil, nil, 'failed', result, 0)
    added = added + 1
  elseif row_of(id) > rows then
    taken = true
  end
end
if added > 0 then keep_from(batch, clock()) end
return taken and -3 or added
