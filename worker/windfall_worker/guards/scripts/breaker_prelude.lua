-- Prepended to every script of the breaker.
-- KEYS: 1 the breaker's hash  2 the list of its failures' times (ms), newest first  3 the set of all breakers' names
-- ARGV: 1 name  2 token  3 epoch  4 fail_max  5 window  6 reset_timeout  7 probe_lease  (times in ms)
-- Every script returns {verdict, state, epoch, ms until the breaker may be tried again, failures in the window}.
local clock = redis.call("TIME")
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local name, token, given_epoch = ARGV[1], ARGV[2], tonumber(ARGV[3])
local fail_max, window = tonumber(ARGV[4]), tonumber(ARGV[5])
local reset_timeout, probe_lease = tonumber(ARGV[6]), tonumber(ARGV[7])

local hash = redis.call("HMGET", KEYS[1], "state", "epoch", "open_until", "holder", "lease_until", "window")
local known = hash[1] ~= false
local state, epoch = hash[1] or "closed", tonumber(hash[2] or 0)
local open_until, holder, lease_until = tonumber(hash[3] or 0), hash[4] or "", tonumber(hash[5] or 0)
if window == 0 then window = tonumber(hash[6] or 0) end

-- Whether the caller is the fleet's current probe.
local mine = state == "half-open" and holder == token and token ~= ""

-- Milliseconds after which an unused breaker is forgotten.
local KEEP = 30 * 24 * 3600 * 1000
-- The open_until of a breaker that a person opened: it stays open until a person closes it.
local HELD = -1

local function remember()
  redis.call("HSET", KEYS[1], "state", state, "epoch", epoch, "open_until", open_until,
    "holder", holder, "lease_until", lease_until, "window", window)
  redis.call("SADD", KEYS[3], name)
  redis.call("PEXPIRE", KEYS[1], KEEP)
end

local function become(new_state)
  state, epoch, holder, lease_until = new_state, epoch + 1, "", 0
  if new_state == "open" then open_until = now + reset_timeout end
  redis.call("DEL", KEYS[2])
  remember()
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
  local failures = 0
  for _, at in ipairs(redis.call("LRANGE", KEYS[2], 0, -1)) do
    if now - tonumber(at) <= window then failures = failures + 1 end
  end
  return { verdict, state, epoch, math.max(left, 0), failures }
end
