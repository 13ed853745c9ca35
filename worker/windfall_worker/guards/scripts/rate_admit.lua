-- Admits one call, now or soon: takes what it needs from every bucket.
-- ARGV: 1 input tokens  2 output tokens  3 ms within which it is worth being admitted ahead of time.
-- Returns {1 if admitted, ms to wait, epoch, name and level of each bucket that the endpoint told of ...}. Whoever is
-- admitted goes after that time; whoever is not asks again.
local input, output, within = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local needs = { r = 1, R = 1, a = 1, t = input + output, T = input + output, i = input, o = output }

-- Some of what an endpoint says is left stays there, because calls do not arrive in the order and at the distance in
-- which they were admitted. It is lost with each fixed window, so there it is less.
local function margin(b, need)
  if b.rate > 0 then return math.min(0.1 * b.cap, need + 200 * b.rate) end
  return math.min(0.03 * b.cap, need)
end

-- How long until a bucket holds what the call needs. One that needs more than a bucket ever holds waits until that is
-- full, and leaves a debt.
local function wait_for(b, need, told)
  if told then need = need + margin(b, need) end
  need = math.min(need, b.cap)
  if b.level >= need then return 0 end
  if b.rate > 0 then return (need - b.level) / b.rate end
  if b.full <= now then return 0 end
  local windows = math.ceil((need - math.min(0, b.level)) / b.cap)
  return b.full - now + (windows - 1) * b.period
end

local wait = math.max(0, number("block") - now)
for name, b in pairs(buckets) do
  wait = math.max(wait, wait_for(b, needs[name], name == "r" or name == "t" or name == "i" or name == "o"))
end
local admitted = wait <= within
if admitted then
  for name, b in pairs(buckets) do b.level = b.level - needs[name] end
end
save()

local answer = { admitted and 1 or 0, math.ceil(wait), number("epoch") }
for _, name in ipairs(TOLD) do
  local b = buckets[name]
  if b then
    answer[#answer + 1] = name
    answer[#answer + 1] = string.format("%.3f", b.level - b.shift)
  end
end
return answer
