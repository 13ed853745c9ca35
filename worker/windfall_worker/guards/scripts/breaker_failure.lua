-- A call failed. Calls that were admitted in an earlier epoch say nothing about this one.
if mine then
  become("open")
  return answer(1)
end
if state ~= "closed" or given_epoch ~= epoch then return answer(0) end
-- Successes cost no round trip while there is no streak that they could end, so many calls that end together would look
-- like failures alone: the first failure after a success of its own process begins a new streak.
failures = new_streak and 1 or failures + 1
redis.call("HSET", KEYS[1], "failures", failures)
local calls, failed = count(1)
if failures >= fail_max or (calls >= min_calls and failed >= failure_rate * calls) then become("open") end
return answer(1)
