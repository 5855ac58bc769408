-- The next events of a topic: KEYS topic; ARGV the position as an id, events, bytes.
local entries, left, bytes, from = {}, tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[1]
while left > 0 and bytes > 0 do
  -- A few at a time, since their size is known only when they are read.
  local some = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', math.min(left, 8))
  for _, entry in ipairs(some) do
    if bytes <= 0 then
      break
    end
    table.insert(entries, entry)
    for _, field in ipairs(entry[2]) do
      bytes = bytes - #field
    end
    -- The id after.
    local first, second = string.match(entry[1], '^(%d+)-(%d+)$')
    from = first .. '-' .. string.format('%.0f', second + 1)
  end
  if #some < math.min(left, 8) then
    break
  end
  left = left - #some
end
return entries
