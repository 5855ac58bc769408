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
local entries = read_bounded('XREVRANGE', KEYS[3], '+', '-', tonumber(ARGV[2]), tonumber(ARGV[4]),
  function(first, second)
    if second == '0' then
      return string.format('%.0f', first - 1)
    end
    return first .. '-' .. string.format('%.0f', second - 1)
  end)
return { epoch, head, string.format('%.0f', now), last, entries }
