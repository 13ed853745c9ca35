-- KEYS: 1 the cool-down.  Returns the ms left of it, 0 if there is none.
return math.max(redis.call("PTTL", KEYS[1]), 0)
