-- Whether calls may be made.
-- KEYS: 1 the hash of all parked endpoints.  ARGV: 1 field  2 ms between probes  3 "1" to be the probe, if one is due.
-- Returns {0} if it is not parked, {1, ms until the next probe, reason} if it is, {2} if the caller is the probe.
local known = redis.call("HGET", KEYS[1], ARGV[1])
if not known then return { 0 } end
local clock = redis.call("TIME")
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local parked = cjson.decode(known)
local left = parked.probe_at - now
if left > 0 or ARGV[3] ~= "1" then return { 1, math.max(0, left), parked.reason } end
parked.probe_at = now + tonumber(ARGV[2])
redis.call("HSET", KEYS[1], ARGV[1], cjson.encode(parked))
return { 2 }
