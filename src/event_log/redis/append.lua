-- Appends an event to a topic: KEYS head, epoch, topic; ARGV event, new epoch, events, idle in ms.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local epoch = redis.call('GET', KEYS[2])
if not epoch then
  epoch = ARGV[2]
  redis.call('SET', KEYS[2], epoch)
end
-- Microseconds, so that ids that a crash made Redis forget are not given out again.
local sequence = tonumber(redis.call('GET', KEYS[1]) or '0') + 1
if sequence < now then
  sequence = now
end
-- The sequence before; if it is not known, one before which all events that expired were.
local before, known = string.format('%.0f', math.max(0, now - ARGV[4] * 1000)), '0'
if redis.call('EXISTS', KEYS[3]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[3])
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' then
      before, known = string.match(info[at + 1], '^%d+'), '1'
    end
  end
end
local text = string.format('%.0f', sequence)
redis.call('SET', KEYS[1], text)
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], text .. '-0',
  'e', ARGV[1], 'g', epoch, 'b', before, 'k', known)
redis.call('PEXPIRE', KEYS[3], ARGV[4])
return { epoch, text, string.format('%.0f', now) }
