-- A call ended well. The probe's word closes the breaker; any other ends a streak of failures.
if mine then
  become("closed")
  return answer(1)
end
if state ~= "closed" or given_epoch ~= epoch then return answer(0) end
failures = 0
redis.call("HSET", KEYS[1], "failures", 0)
count(0)
return answer(1)
