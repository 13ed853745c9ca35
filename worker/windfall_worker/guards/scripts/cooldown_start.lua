-- KEYS: 1 the cool-down.  ARGV: 1 its length in ms.  A cool-down is never shortened. Returns the ms left.
local left, length = redis.call("PTTL", KEYS[1]), tonumber(ARGV[1])
if left >= length then return left end
redis.call("SET", KEYS[1], "1", "PX", length)
return length
