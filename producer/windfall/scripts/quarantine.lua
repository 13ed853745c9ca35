-- Quarantine unreadable data: values of another type under keys of ours, and members that are not names.
-- KEYS: keys to check.  ARGV: members of the first of them; any that are valid names stay.
-- Returns how many values and members were quarantined.
although_full()
local count = 0
for _, key in ipairs(KEYS) do
  if remove_foreign(key) then count = count + 1 end
end
local remove = ({zset = 'ZREM', set = 'SREM'})[#ARGV > 0 and type_by_name(KEYS[1]) or '']
local is_name = ({[LANES] = is_lane, [BATCHES] = is_batch_id, [KEPT] = is_batch_id, [RESUMING] = is_batch_id,
  [CANCELLING] = is_batch_id, [SHELVED] = is_batch_id})[KEYS[1]]
for _, member in ipairs(remove and ARGV or {}) do
  if not (is_name or is_job_id)(member) and redis.call(remove, KEYS[1], member) == 1 then
    tell_of(KEYS[1], member, 'a member that is not a name')
    count = count + 1
  end
end
return count
