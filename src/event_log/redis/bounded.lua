-- Entries of a stream. A key of another type is not of this log, and has none: an error would be
-- there again however often a node asks.
local function entries_of(command, key, ...)
  local entries = redis.pcall(command, key, ...)
  if not entries.err then
    return entries
  end
  if string.find(entries.err, 'WRONGTYPE', 1, true) then
    return {}
  end
  -- Raises the same error.
  return redis.call(command, key, ...)
end

-- Reads entries of a stream by `command` from an id on, until so many are read or so many bytes.
-- `after` gives the id at which to go on, from the two numbers of the last; `complete` may add to the
-- fields of an entry.
local function read_bounded(command, key, from, to, left, bytes, after, complete)
  local entries = {}
  while left > 0 and bytes > 0 do
    -- A few at a time, since their size is known only when they are read.
    local some = entries_of(command, key, from, to, 'COUNT', math.min(left, 8))
    for _, entry in ipairs(some) do
      if bytes <= 0 then
        break
      end
      if complete then
        complete(entry[1], entry[2])
      end
      table.insert(entries, entry)
      for _, field in ipairs(entry[2]) do
        bytes = bytes - #field
      end
      from = after(string.match(entry[1], '^(%d+)-(%d+)$'))
    end
    if #some < math.min(left, 8) then
      break
    end
    left = left - #some
  end
  return entries
end
