-- The endpoint refused a call because of its rate limit.
-- ARGV: 1 the call's epoch  2 ms for which the endpoint wants no calls (0: not said)  3 the buckets that are too low for
-- the call by what the endpoint told of them: they explain the refusal.
-- Returns the ms for which no call goes.
local epoch, block, explained = number("epoch"), tonumber(ARGV[2]), ARGV[3] ~= ""

-- Without a time to come back only one time is certain: when they are full again.
for name in ARGV[3]:gmatch("%a") do
  local b = buckets[name]
  b.level = math.min(b.level, 0)
  if block == 0 and (resets[name] or 0) > 0 then b.rate, b.full = 0, now + resets[name] end
end

-- Calls that were admitted before the rate was last lowered say nothing about the rate since. Neither does a refusal
-- before any call has ended well: the endpoint's window is used up, and only time helps.
if not explained and tonumber(ARGV[1]) == epoch then
  local pause = 1000
  if state.since and number("well") == 0 then
    pause = math.min(16000, 2 * number("pause"))
  else
    -- Where the endpoint tells of limits, and refuses by another, the search begins at twice what went well lately.
    a = a or bucket(0, START, known() and 2 * math.max(state.speed, 0.001) or START / 1000)
    buckets.a = a
    local far = not state.since or now - number("since") < 3000 + 10 / a.rate
    state.max, state.low, state.cycle = a.rate, (far and 0.5 or 0.9) * a.rate, far and FAR or NEAR
    a.rate, a.level, a.cap = state.low, math.min(0, a.level), math.max(2, state.low * 250)
    state.since, state.epoch, state.well = now, epoch + 1, 0
  end
  state.pause = pause
  if block == 0 then block = pause end
end
state.block = math.max(number("block"), now + block)
save()
local left = math.ceil(state.block - now)
if left > math.max(0, redis.call("PTTL", KEYS[2])) then redis.call("SET", KEYS[2], "1", "PX", left) end
return math.max(0, left)
