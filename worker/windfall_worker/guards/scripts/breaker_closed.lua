-- Prepended to the prelude for `admit`: a closed breaker, the case of almost every call, needs nothing else.
local closed = redis.call("HMGET", KEYS[1], "state", "epoch", "failures")
if closed[1] == "closed" then return { 1, "closed", tonumber(closed[2]), 0, tonumber(closed[3] or 0) } end
