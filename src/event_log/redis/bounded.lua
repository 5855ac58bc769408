-- Entries of a stream. A key of another type is not of this log, and has none, nor has one to which the
-- user has no right: an error would be there again however often a node asks.
local function entries_of(command, key, ...)
  local entries = redis.pcall(command, key, ...)
  if not entries.err then
    return entries
  end
  for _, code in ipairs({ 'WRONGTYPE', 'NOPERM', 'The user executing the script' }) do
    if string.find(entries.err, code, 1, true) then
      return {}
    end
  end
  -- Raises the same error.
  return redis.call(command, key, ...)
end

-- The ids next to the one with these two numbers.
local function after(first, second)
  return first .. '-' .. string.format('%.0f', second + 1)
end

local function before(first, second)
  if second == '0' then
    return string.format('%.0f', first - 1)
  end
  return first .. '-' .. string.format('%.0f', second - 1)
end

-- Adds an event that is too long for the feed to the fields of its entry there, if the topic still has
-- it. The keys of topics begin with `topics`.
local function complete(topics, id, fields)
  if #fields == 4 and fields[1] == 't' then
    local stored = entries_of('XRANGE', topics .. fields[2], id, id)[1]
    if stored and stored[2][1] == 'e' then
      table.insert(fields, 'e')
      table.insert(fields, stored[2][2])
    end
  end
end

-- Reads entries of a stream by `command` from an id on, until so many are read or so many bytes.
-- `next_to` gives the id at which to go on. If `topics` is given, entries are those of the feed.
local function read_bounded(command, key, from, to, left, bytes, next_to, topics)
  local entries = {}
  while left > 0 and bytes > 0 do
    -- A few at a time, since their size is known only when they are read.
    local some = entries_of(command, key, from, to, 'COUNT', math.min(left, 8))
    for _, entry in ipairs(some) do
      if bytes <= 0 then
        break
      end
      if topics then
        complete(topics, entry[1], entry[2])
      end
      table.insert(entries, entry)
      for _, field in ipairs(entry[2]) do
        bytes = bytes - #field
      end
      from = next_to(string.match(entry[1], '^(%d+)-(%d+)$'))
    end
    if #some < math.min(left, 8) then
      break
    end
    left = left - #some
  end
  return entries
end
