-- KEYS: 1 hash {tokens, at}.  ARGV: 1 calls since the last time  2 tokens per call  3 tokens per second  4 capacity.
-- Fills the bucket for those calls and the elapsed time, then takes one token. 1 taken, 0 none was left.
local clock = redis.call("TIME")
local now = clock[1] + clock[2] / 1000000
local calls, share, rate, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local bucket = redis.call("HMGET", KEYS[1], "tokens", "at")
local tokens, at = tonumber(bucket[1] or most), tonumber(bucket[2] or now)
tokens = math.min(most, tokens + calls * share + math.max(0, now - at) * rate)
local taken = tokens >= 1 and 1 or 0
-- Formatted explicitly: Lua's own conversion would drop the microseconds.
redis.call("HSET", KEYS[1], "tokens", string.format("%.6f", tokens - taken), "at", string.format("%.6f", now))
redis.call("EXPIRE", KEYS[1], 3600)
return taken
