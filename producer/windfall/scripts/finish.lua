-- Give a job its one result, unless it has one or another claim holds it. A result that arrives after an outage is
-- accepted if no claim holds the job: work that was paid for is not discarded.
-- KEYS: lane.  ARGV: id, token, state, result, retention (ms; 0 = forever),
-- prompt, completion, cached and reasoning tokens, SHA-1 of the job's payload.
-- Returns 'ok', 'finished' (it has a result), 'held' (by another claim) or 'gone' (there is no such job).
although_full()
local id, token, state = ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', RESULT .. id) == 1 then return 'finished' end
local holder = redis.call('GET', HOLDER .. id)
if holder and holder ~= token then return 'held' end
if not holder and not is_same_job(id, ARGV[10]) then return 'gone' end
local batch = batch_of(id)
if batch then
  for i, field in ipairs({'prompt_tokens', 'completion_tokens', 'cached_tokens', 'reasoning_tokens'}) do
    local n = tonumber(ARGV[5 + i])
    if n > 0 then redis.call('HINCRBY', batch, field, n) end
  end
end
local spent = tonumber(ARGV[6]) + tonumber(ARGV[7])
settle(id, KEYS[1], holder and 'running' or 'queued', state, ARGV[4], tonumber(ARGV[5]), spent)
return 'ok'
