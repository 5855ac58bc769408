-- The last events of a topic, newest first: KEYS head, epoch, topic, last; ARGV new epoch, events,
-- idle in ms, bytes.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local epoch = redis.call('GET', KEYS[2])
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[2], epoch)
end
local head = redis.call('GET', KEYS[1]) or '0'
-- All events that expired were before this.
local floor = math.min(tonumber(head), math.max(0, now - ARGV[3] * 1000))
local last = redis.call('GET', KEYS[4]) or string.format('%.0f', floor)
local entries, left, bytes, from = {}, tonumber(ARGV[2]), tonumber(ARGV[4]), '+'
while left > 0 and bytes > 0 do
  -- A few at a time, since their size is known only when they are read.
  local some = redis.call('XREVRANGE', KEYS[3], from, '-', 'COUNT', math.min(left, 8))
  for _, entry in ipairs(some) do
    if bytes <= 0 then
      break
    end
    table.insert(entries, entry)
    for _, field in ipairs(entry[2]) do
      bytes = bytes - #field
    end
    -- The id before.
    local first, second = string.match(entry[1], '^(%d+)-(%d+)$')
    from = second == '0' and string.format('%.0f', first - 1)
      or first .. '-' .. string.format('%.0f', second - 1)
  end
  if #some < math.min(left, 8) then
    break
  end
  left = left - #some
end
return { epoch, head, string.format('%.0f', now), last, entries }
