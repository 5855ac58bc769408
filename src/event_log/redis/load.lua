-- The last events of a topic, newest first: KEYS head, least, epoch, lost, last, topic; ARGV new
-- epoch, events, idle in ms, bytes.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local head, least, epoch, lost, last =
  unpack(redis.call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]))
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[3], epoch)
end
head = head or '0'
least = math.max(tonumber(head), tonumber(least or '0'))
-- All events that expired were before this, and those that were lost.
local floor = math.min(least, math.max(0, now - ARGV[3] * 1000, tonumber(lost or '0')))
local entries = read_bounded('XREVRANGE', KEYS[6], '+', '-', tonumber(ARGV[2]), tonumber(ARGV[4]), before)
return {
  { epoch, head, string.format('%.0f', least), string.format('%.0f', now) },
  last or string.format('%.0f', floor), entries,
}
