-- Takes endpoints off the list.
-- KEYS: 1 the hash of all parked endpoints.  ARGV: 1 endpoint  2 digest of the key that is lifted, or of the key that is
-- not  3 "1" for that key, "0" for all others.
-- Returns how many were lifted.
local lifted = 0
local all = redis.call("HGETALL", KEYS[1])
for at = 1, #all, 2 do
  local field = all[at]
  local cut = field:find(":", 1, true)
  if cut and field:sub(cut + 1) == ARGV[1] and (field:sub(1, cut - 1) == ARGV[2]) == (ARGV[3] == "1") then
    lifted = lifted + redis.call("HDEL", KEYS[1], field)
  end
end
return lifted
