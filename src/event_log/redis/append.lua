-- Appends an event to a topic, and names it in the feed: KEYS head, least, epoch, lost, last, topic,
-- feed, and the message if the event is to be taken once; ARGV new epoch, event, events, idle in ms,
-- the topic's name, entries of the feed, how long an event may be that is in the feed itself, and
-- for how many ms a message is taken. If it is taken, its event's id is returned, too.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local head, least, epoch, lost, last =
  unpack(redis.call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]))
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[3], epoch)
end
head = head or '0'
local taken = KEYS[8] and redis.call('GET', KEYS[8])
if taken then
  local known = math.max(tonumber(head), tonumber(least or '0'))
  return { epoch, head, string.format('%.0f', known), string.format('%.0f', now), taken }
end
-- Microseconds, so that ids that a crash made Redis forget are not given out again.
local sequence = math.max(tonumber(head) + 1, tonumber(least or '0') + 1, now)
-- The sequence before, in a key of its own: to ask the stream would copy its first and last event.
-- If it is not known, one before which all events that expired were, or that were lost.
local before, known = last, 'known'
if not before then
  before, known = string.format('%.0f', math.max(0, now - ARGV[4] * 1000)), 'expired'
end
if lost and tonumber(before) < tonumber(lost) then
  before, known = lost, 'lost'
end
local text = string.format('%.0f', sequence)
redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[3], text .. '-0',
  'e', ARGV[2], 'g', epoch, 'b', before, 'k', known)
redis.call('PEXPIRE', KEYS[6], ARGV[4])
redis.call('SET', KEYS[5], text, 'PX', ARGV[4])
redis.call('SET', KEYS[1], text)
local named = { 't', ARGV[5], 'n', epoch .. ' ' .. head .. ' ' .. before .. ' ' .. known }
if #ARGV[2] <= tonumber(ARGV[7]) then
  table.insert(named, 'e')
  table.insert(named, ARGV[2])
end
redis.call('XADD', KEYS[7], 'MAXLEN', '~', ARGV[6], text .. '-0', unpack(named))
redis.call('PEXPIRE', KEYS[7], ARGV[4])
if KEYS[8] then
  redis.call('SET', KEYS[8], epoch .. '-' .. text, 'PX', ARGV[8])
end
return { epoch, text, text, string.format('%.0f', now), false }
