-- Give rows that cannot become jobs their failed results.
-- ARGV: batch id, then for each row: id, result.
-- Returns as enqueue.lua does.
local batch = BATCH .. ARGV[1]
local refused = no_more_rows(batch)
if refused then return refused end
local added, last = 0, 0
for i = 2, #ARGV, 2 do
  local id, result = ARGV[i], ARGV[i + 1]
  if redis.call('EXISTS', PAYLOAD .. id, RESULT .. id, DEAD .. id) == 0 then
    redis.call('HINCRBY', batch, 'total', 1)
    settle(id, nil, nil, 'failed', result, 0)
    added = added + 1
    last = row_of(id)
  end
end
if added > 0 then note_rows(batch, last, clock()) end
return added
