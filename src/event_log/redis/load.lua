-- The last events of a topic: KEYS head, epoch, topic; ARGV new epoch, events, idle in ms.
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
local last, entries = string.format('%.0f', floor), {}
if redis.call('EXISTS', KEYS[3]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[3])
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' then
      last = string.match(info[at + 1], '^%d+')
    end
  end
  entries = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', ARGV[2])
end
return { epoch, head, string.format('%.0f', now), last, entries }
