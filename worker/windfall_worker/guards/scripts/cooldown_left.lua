-- KEYS: 1 the cool-down.  Answers the ms left of it, 0 when there is none.
return math.max(redis.call("PTTL", KEYS[1]), 0)
