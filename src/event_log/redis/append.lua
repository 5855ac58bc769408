-- Appends an event to a topic: KEYS head, epoch, topic, last; ARGV event, new epoch, events, idle
-- in ms.
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
-- The sequence before, in a key of its own: to ask the stream would copy its first and last event.
-- If it is not known, one before which all events that expired were.
local before, known = redis.call('GET', KEYS[4]), '1'
if not before then
  before, known = string.format('%.0f', math.max(0, now - ARGV[4] * 1000)), '0'
end
local text = string.format('%.0f', sequence)
redis.call('SET', KEYS[1], text)
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], text .. '-0',
  'e', ARGV[1], 'g', epoch, 'b', before, 'k', known)
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('SET', KEYS[4], text, 'PX', ARGV[4])
return { epoch, text, string.format('%.0f', now) }
