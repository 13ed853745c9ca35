-- Give rows that cannot become jobs their failed results.
-- ARGV: batch id, how long to keep results (ms), then for each row: id, result.
-- Returns how many were added.
local batch = BATCH .. ARGV[1]
local added = 0
for i = 3, #ARGV, 2 do
  local id, result = ARGV[i], ARGV[i + 1]
  if redis.call('EXISTS', PAYLOAD .. id, RESULT .. id, DEAD .. id) == 0 then
    redis.call('HINCRBY', batch, 'total', 1)
    settle(id, nil, nil, 'failed', result, tonumber(ARGV[2]))
    added = added + 1
  end
end
return added
