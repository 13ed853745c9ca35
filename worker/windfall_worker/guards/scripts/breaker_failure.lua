-- A call failed. Calls that were admitted in an earlier epoch say nothing about this one.
if mine then
  become("open")
  return answer(1)
end
if state ~= "closed" or given_epoch ~= epoch then return answer(0) end
redis.call("LPUSH", KEYS[2], now)
redis.call("LTRIM", KEYS[2], 0, fail_max - 1)
redis.call("PEXPIRE", KEYS[2], window)
local oldest = redis.call("LINDEX", KEYS[2], fail_max - 1)
if oldest and now - tonumber(oldest) <= window then become("open") end
return answer(1)
