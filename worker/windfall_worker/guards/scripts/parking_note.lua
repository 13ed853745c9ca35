-- The endpoint refuses the key, or its account is empty.
-- KEYS: 1 the hash of all parked endpoints.  ARGV: 1 field (digest of the key:endpoint)  2 reason  3 ms between probes.
-- Returns the ms until a call may be tried.
local clock = redis.call("TIME")
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local known = redis.call("HGET", KEYS[1], ARGV[1])
local since = known and cjson.decode(known).since or now
local parked = { reason = ARGV[2], since = since, probe_at = now + tonumber(ARGV[3]) }
redis.call("HSET", KEYS[1], ARGV[1], cjson.encode(parked))
redis.call("PEXPIRE", KEYS[1], 30 * 24 * 3600 * 1000)
return tonumber(ARGV[3])
