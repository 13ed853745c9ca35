-- Prepended to every script of the breaker.
-- KEYS: 1 the breaker's hash  2 the hash of its calls and failures in the window  3 the set of all breakers' names
-- ARGV: 1 name  2 token  3 epoch  4 fail_max  5 window  6 reset_timeout  7 probe_lease  (times in ms)
--       8 calls that the caller has to report  9 1 if the last follows a success of its process  10 failure_rate  11 min_calls
--       (8 to 11 are not given by a person)
-- Every script answers {verdict, state, epoch, ms until it may be tried again, failures in a row}.
local clock = redis.call("TIME")
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local name, token, given_epoch = ARGV[1], ARGV[2], tonumber(ARGV[3])
local fail_max, window = tonumber(ARGV[4]), tonumber(ARGV[5])
local reset_timeout, probe_lease = tonumber(ARGV[6]), tonumber(ARGV[7])
local reported, new_streak = tonumber(ARGV[8] or 0), ARGV[9] == "1"
local failure_rate, min_calls = tonumber(ARGV[10] or 0), tonumber(ARGV[11] or 0)

local hash = redis.call("HMGET", KEYS[1], "state", "epoch", "open_until", "holder", "lease_until",
  "failures")
local known = hash[1] ~= false
local state, epoch = hash[1] or "closed", tonumber(hash[2] or 0)
local open_until, holder, lease_until = tonumber(hash[3] or 0), hash[4] or "", tonumber(hash[5] or 0)
local failures = tonumber(hash[6] or 0)

-- Whether the caller is the fleet's current probe.
local mine = state == "half-open" and holder == token and token ~= ""

-- Milliseconds after which an unused breaker is forgotten.
local KEEP = 30 * 24 * 3600 * 1000
-- The open_until of a breaker that a person opened: it stays open until a person closes it.
local HELD = -1

local function remember()
  redis.call("HSET", KEYS[1], "state", state, "epoch", epoch, "open_until", open_until,
    "holder", holder, "lease_until", lease_until, "failures", failures)
  redis.call("SADD", KEYS[3], name)
  redis.call("PEXPIRE", KEYS[1], KEEP)
end

local function become(new_state)
  state, epoch, holder, lease_until, failures = new_state, epoch + 1, "", 0, 0
  if new_state == "open" then open_until = now + reset_timeout end
  redis.call("DEL", KEYS[2])
  remember()
end

-- Counts the calls that the caller reports and how many of them failed. Returns both sums over the window.
local SLICES = 10
local function count(failed)
  local slice = math.floor(now * SLICES / window)
  redis.call("HINCRBY", KEYS[2], "c" .. slice, reported)
  redis.call("HINCRBY", KEYS[2], "f" .. slice, failed)
  redis.call("PEXPIRE", KEYS[2], math.ceil(window))
  local sums, all = { c = 0, f = 0 }, redis.call("HGETALL", KEYS[2])
  for at = 1, #all, 2 do
    local kind, number = all[at]:sub(1, 1), tonumber(all[at]:sub(2))
    if number > slice - SLICES and number <= slice then
      sums[kind] = sums[kind] + tonumber(all[at + 1])
    else
      redis.call("HDEL", KEYS[2], all[at])
    end
  end
  return sums.c, sums.f
end

local function lend_probe()
  holder, lease_until = token, now + probe_lease
  redis.call("HSET", KEYS[1], "holder", holder, "lease_until", lease_until)
end

local function free_probe()
  holder, lease_until = "", 0
  redis.call("HSET", KEYS[1], "holder", "", "lease_until", 0)
end

local function answer(verdict)
  local left = 0
  if state == "open" then
    -- Jobs snooze for this long, so a breaker held open by a person is checked again after each reset_timeout.
    left = open_until == HELD and reset_timeout or open_until - now
  elseif state == "half-open" then
    -- The probe may end at any moment, which its lease does not predict.
    left = math.min(lease_until - now, 1000)
  end
  return { verdict, state, epoch, math.max(left, 0), failures }
end
