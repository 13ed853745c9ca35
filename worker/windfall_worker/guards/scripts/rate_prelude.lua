-- Prepended to every script of the rate limiter: loads its buckets, fills them, and takes in what the caller has learned.
-- KEYS: 1 the limiter's hash  2 the cool-down of its endpoint.
-- ARGV: 1 to 3 the script's own, then
--   4 calls that ended well  5 requests  6 input tokens  7 output tokens that were reserved and never sent
--   8 tokens used beyond the estimates  9 and 10 the settings rpm and tpm (0: not set)  11 how many buckets were told of,
--   each as: name, limit, remaining, ms until it is full (0: not said), ms in which it refills steadily (0: it does
--   not, -1: not known), and its level when the call was admitted, as `admit` returned it (empty: it was not known then).
--
-- A bucket is a string "level cap rate full period shift":
--   rate    what comes back per ms; 0 for a fixed window, which is full again at `full` (ms) and then each `period`
--   shift   the sum of all corrections: what an endpoint says is remaining when a call arrives there is compared with the
--           level when that call was admitted, corrected by all that was learned meanwhile. So it does not matter how
--           many calls are in flight, or how late their answers come.
-- Buckets: r requests  t tokens  i input tokens  o output tokens, as endpoints tell of them;
--          R requests  T tokens, as settings limit them;  a the search for a limit of which nothing is known but refusals.
local clock = redis.call("TIME")
local now = clock[1] * 1000 + clock[2] / 1000
local NAMES, TOLD = { "r", "t", "i", "o", "R", "T", "a" }, { "r", "t", "i", "o" }
local KEEP = 24 * 3600 * 1000

local state, buckets, flat = {}, {}, redis.call("HGETALL", KEYS[1])
for at = 1, #flat, 2 do state[flat[at]] = flat[at + 1] end
local function number(field) return tonumber(state[field] or 0) end
-- The cool-down is there for people to see and end. It is the endpoint's, and `block` is that of this key.
if number("block") > now and redis.call("EXISTS", KEYS[2]) == 0 then state.block = 0 end
local elapsed = math.max(0, now - (tonumber(state.at or now)))

local function bucket(level, cap, rate, full, period, shift)
  return { level = level, cap = cap, rate = rate, full = full or 0, period = period or 0, shift = shift or 0 }
end

for _, name in ipairs(NAMES) do
  if state[name] then
    local parts = {}
    for part in state[name]:gmatch("%S+") do parts[#parts + 1] = tonumber(part) end
    local b = bucket(unpack(parts))
    b.level = math.min(b.cap, b.level + elapsed * b.rate)
    if b.full > 0 and now >= b.full then
      b.level = b.cap + math.min(0, b.level) -- less what was reserved for this moment
      b.full = b.period > 0 and b.full + b.period * (math.floor((now - b.full) / b.period) + 1) or 0
    end
    buckets[name] = b
  end
end

local well = tonumber(ARGV[4])
state.speed = number("speed") * math.exp(-elapsed / 5000) + well / 5000 -- calls per ms that ended well lately

local function add(name, amount)
  local b = buckets[name]
  if b and amount ~= 0 then b.level = math.min(b.cap, b.level + amount) end
end

local unsent = { requests = tonumber(ARGV[5]), input = tonumber(ARGV[6]), output = tonumber(ARGV[7]) }
for _, name in ipairs({ "r", "R", "a" }) do add(name, unsent.requests) end
for _, name in ipairs({ "t", "T" }) do add(name, unsent.input + unsent.output) end
add("i", unsent.input)
add("o", unsent.output)
add("T", -tonumber(ARGV[8]))

-- The settings. A second's worth at once, and a little less than allowed, so that no minute sees more.
local rpm, tpm = tonumber(ARGV[9]), tonumber(ARGV[10])
local function set(name, per_minute)
  if per_minute == 0 then
    buckets[name] = nil
    return
  end
  local rate = 0.98 * per_minute / 60000
  local b = buckets[name] or bucket(math.huge, 0, 0)
  b.rate, b.cap = rate, math.max(name == "T" and per_minute / 60 or 1, rate * 1000)
  b.level = math.min(b.level, b.cap)
  buckets[name] = b
end
set("R", rpm)
set("T", tpm)

local at, resets = 12, {}
for _ = 1, tonumber(ARGV[11]) do
  local name, limit, remaining = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local reset, period, base = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local b = buckets[name]
  if not b then
    b = bucket(remaining, limit, 0)
    buckets[name] = b
  elseif base then
    local change = remaining - (base + b.shift)
    -- A steady bucket has gained a little between the admission and the arrival: believe the good news slowly.
    if b.rate > 0 and change > 0 then change = change / 4 end
    b.shift, b.level = b.shift + change, b.level + change
  end
  b.cap = math.max(limit, 1)
  b.level = math.min(b.level, b.cap)
  resets[name] = reset
  if period < 0 and b.rate > 0 then period = b.period end -- another worker has found out
  if period > 0 then
    b.rate, b.full, b.period = limit / period, 0, period
  elseif reset > 0 then
    b.rate, b.full, b.period = 0, now + reset, math.max(b.period, reset)
  elseif b.period == 0 then
    b.rate = b.cap / 60000 -- nearly all limits are per minute
  end
  at = at + 6
end

-- The search, for endpoints that tell of no limit. It begins with a few calls, and every call that ends well adds one per
-- second while calls wait, so that the rate doubles with each round trip. A refusal that nothing explains lowers it; then
-- it returns to the last rate that was refused along a cubic curve, as TCP CUBIC does (RFC 9438): quickly at first, and
-- for long in the neighbourhood of that rate.
local START, MOST, FAR, NEAR = 10, 10000, 10000, 30000
local function cycle() return math.max(number("cycle"), 40 / number("max")) end

local function known()
  for _, name in ipairs({ "r", "t", "i", "o", "R", "T" }) do
    if buckets[name] then return true end
  end
  return false
end

local a = buckets.a
if not state.since and known() then
  a, buckets.a = nil, nil
elseif not a and not known() then
  a = bucket(START, START, START / 1000)
  buckets.a = a
elseif a and not state.since then
  if a.level < a.cap / 2 then a.rate = math.min(MOST / 1000, a.rate + well / 1000) end
  a.cap = math.max(START, a.rate * 500)
elseif a then
  state.well = number("well") + well
  local most, low, part = number("max"), number("low"), (now - number("since")) / cycle()
  if part < 1 then
    a.rate = most - (most - low) * (1 - part) ^ 3
  else
    a.rate = most * math.min(4, 1 + 0.1 * (part - 1) ^ 3)
  end
  a.cap = math.max(2, a.rate * 250)
end

local function save()
  local fields = { "at", string.format("%.3f", now) }
  for _, name in ipairs(NAMES) do
    local b = buckets[name]
    if b then
      fields[#fields + 1] = name
      fields[#fields + 1] = string.format("%.3f %.3f %.9f %.3f %.3f %.3f", b.level, b.cap, b.rate, b.full, b.period, b.shift)
    elseif state[name] then
      redis.call("HDEL", KEYS[1], name)
    end
  end
  for _, field in ipairs({ "block", "epoch", "max", "low", "since", "well", "pause", "cycle", "speed" }) do
    if state[field] then
      fields[#fields + 1] = field
      fields[#fields + 1] = type(state[field]) == "number" and string.format("%.9f", state[field]) or state[field]
    end
  end
  redis.call("HSET", KEYS[1], unpack(fields))
  redis.call("PEXPIRE", KEYS[1], KEEP)
end
