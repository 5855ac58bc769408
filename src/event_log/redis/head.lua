-- The head of the log: KEYS head, epoch; ARGV new epoch, an epoch and the least head in it, and
-- whether to reserve a sequence ('1').
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local epoch = redis.call('GET', KEYS[2])
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[2], epoch)
end
local head = tonumber(redis.call('GET', KEYS[1]) or '0')
local set = head
-- The head is at least what was read once, also if a crash made Redis forget that.
if epoch == ARGV[2] and set < tonumber(ARGV[3]) then
  set = tonumber(ARGV[3])
end
if ARGV[4] == '1' then
  set = math.max(set + 1, now)
end
-- A server that takes no writes, since it is full, gives out no sequences: the head is a position
-- after all events then, too.
if set > head and not redis.pcall('SET', KEYS[1], string.format('%.0f', set)).err then
  head = set
end
return { epoch, string.format('%.0f', head), string.format('%.0f', now) }
