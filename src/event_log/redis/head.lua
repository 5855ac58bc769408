-- The head of the log: KEYS head, least, epoch, lost; ARGV new epoch; an epoch, and the last event
-- and the last sequence in it that a process knows of; whether to reserve a sequence ('1').
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local head, least, epoch, lost = unpack(redis.call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4]))
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[3], epoch)
end
head = tonumber(head or '0')
least = math.max(head, tonumber(least or '0'))
-- A server that takes no writes, since it is full, gives out no sequences: what there is holds.
local function set(key, number)
  return not redis.pcall('SET', key, string.format('%.0f', number)).err
end
local known = least
if epoch == ARGV[2] then
  known = math.max(known, tonumber(ARGV[4]))
  -- The server forgot events that it had: it crashed, was a replica that was behind, or was set
  -- back to an earlier copy. Of no topic it is known whether it had some of them.
  local seen = tonumber(ARGV[3])
  if head < seen and tonumber(lost or '0') < seen then
    set(KEYS[4], seen)
  end
end
if ARGV[5] == '1' then
  known = math.max(known + 1, now)
end
if known > least and set(KEYS[2], known) then
  least = known
end
return { epoch, string.format('%.0f', head), string.format('%.0f', least), string.format('%.0f', now) }
