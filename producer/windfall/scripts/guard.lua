-- Precedes every script, so that foreign data in Redis cannot break them. A producer may write to most of these keys
-- with plain commands: a value of another type, text where a number belongs, an id that is not text. After this file,
-- `redis.call` and `tonumber` are the ones defined here.

local DAY = 24 * 3600 * 1000
local QUARANTINED = 100    -- notes that the quarantine keeps
local LONGEST_ID = 640     -- bytes: a batch id of 128 characters, a colon and a row
local LONGEST_MODEL = 1024 -- bytes: 256 characters
local EXACT = 2 ^ 53       -- larger integers are not exact

local server, parse = redis, tonumber

-- A finite number, or 0: counts and times in a hash or a score may have been written by anyone.
local function tonumber(value)
  local number = parse(value)
  if not number or number ~= number or number > EXACT or number < -EXACT then return 0 end
  return number
end

local function shown(text)
  return (string.gsub(string.sub(text, 1, 200), '[^\32-\126]', function(c)
    return string.format('\\x%02x', string.byte(c))
  end))
end

-- Record what was quarantined. It stays removed even if this user may not write the record, or memory is full.
local function tell_of(where, what, why)
  for _ = 1, 2 do
    local last = server.pcall('XREVRANGE', QUARANTINE, '+', '-', 'COUNT', 1)
    local number = 0
    if not last.err and last[1] then
      for i = 1, #last[1][2], 2 do
        if last[1][2][i] == 'n' then number = tonumber(last[1][2][i + 1]) end
      end
    end
    local told = server.pcall('XADD', QUARANTINE, 'MAXLEN', QUARANTINED, '*', 'n', string.format('%.0f', number + 1),
      'where', shown(where), 'what', shown(what), 'why', why)
    if type(told) == 'string' then
      server.pcall('PEXPIRE', QUARANTINE, 7 * DAY)
      return
    end
    server.pcall('UNLINK', QUARANTINE)  -- it has the wrong type itself
  end
end

-- The type that a key of ours must have, by its name, or nil.
local function type_by_name(key)
  local types = TYPES()
  if types[key] then return types[key] end
  for prefix, kind in pairs(types) do
    if string.sub(prefix, -1) == ':' and string.sub(key, 1, #prefix) == prefix then
      if prefix == BATCH and string.sub(key, -#DONE_SUFFIX) == DONE_SUFFIX then return 'stream' end
      return kind
    end
  end
  return nil
end

-- Remove a value whose type does not fit its key's name. A wrong key passed by a caller removes nothing.
local function remove_foreign(key)
  local wanted, found = type_by_name(key), server.call('TYPE', key).ok
  if not wanted or found == wanted or found == 'none' then return false end
  server.call('UNLINK', key)
  tell_of(key, found, 'a value of another type')
  return true
end

local function mend(err, command, key, field)
  if string.find(err, 'WRONGTYPE', 1, true) then
    return remove_foreign(key)
  elseif command == 'HINCRBY' and (string.find(err, 'not an integer', 1, true) or string.find(err, 'overflow', 1, true)) then
    server.call('HDEL', key, field)
    tell_of(key, field, 'text where a count belongs')
    return true
  elseif command == 'XADD' and string.find(err, 'stream', 1, true) then
    server.call('UNLINK', key)  -- its last possible id is taken: nothing could ever be added
    tell_of(key, 'stream', 'the last id of a stream is taken')
    return true
  end
  return false
end

local function call(...)
  local answer = server.pcall(...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  mend(answer.err, ...)
  return server.call(...)
end

local redis = setmetatable({call = call}, {__index = server})

-- Whether it is UTF-8 without control characters, and not longer than that.
local function is_text(text, most)
  if #text == 0 or #text > most or string.find(text, '%c') then return false end
  if not string.find(text, '[\128-\255]') then return true end
  for _, well_formed in ipairs({
    '[\194-\223][\128-\191]', '\224[\160-\191][\128-\191]', '[\225-\236\238\239][\128-\191][\128-\191]',
    '\237[\128-\159][\128-\191]', '\240[\144-\191][\128-\191][\128-\191]',
    '[\241-\243][\128-\191][\128-\191][\128-\191]', '\244[\128-\143][\128-\191][\128-\191]',
  }) do
    text = string.gsub(text, well_formed, '.')
  end
  return not string.find(text, '[\128-\255]')
end

local function is_job_id(id)
  return is_text(id, LONGEST_ID)
end

-- With a colon, keys of two batches could collide: the hash of a batch `x:done` would be the stream of `x`.
local function is_batch_id(name)
  return is_text(name, LONGEST_ID) and not string.find(name, '[:%s]')
end

-- The id of the batch with this key, or nil for any other key.
local function batch_id_of(key)
  local name = string.sub(key, #BATCH + 1)
  if string.sub(key, 1, #BATCH) ~= BATCH or not is_batch_id(name) then return nil end
  return name
end

-- The lane of a model `m:held` would be the held jobs of `m`.
local function is_lane(key)
  local route, model = string.match(string.sub(key, #LANE + 1), '^(%l+):(.+)$')
  return string.sub(key, 1, #LANE) == LANE and route ~= nil and ROUTES[route] == true
    and is_text(model, LONGEST_MODEL) and string.sub(model, -#HELD_SUFFIX) ~= HELD_SUFFIX
end

local function refuse(why)
  return server.error_reply('ERR windfall: ' .. why)
end
