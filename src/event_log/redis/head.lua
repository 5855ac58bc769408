-- The head of the log: KEYS head, least, epoch, lost, feed; ARGV new epoch; an epoch, and the last
-- event and the last sequence in it that a process knows of; whether to reserve a sequence ('1'), and
-- to note that events before it were lost ('2').
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local head, least, epoch, lost = unpack(redis.call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4]))
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[3], epoch)
end
head = tonumber(head or '0')
least = math.max(head, tonumber(least or '0'))
-- A server that takes no writes, since it is full, gives out no sequences: what there is holds. One that
-- is a replica is the wrong one to ask.
local function set(key, number)
  local text = string.format('%.0f', number)
  local refused = redis.pcall('SET', key, text).err
  if refused and string.find(refused, 'READONLY', 1, true) then
    -- Raises the same error.
    redis.call('SET', key, text)
  end
  return not refused
end
-- Whether the feed shows that there was no such event. If it does not reach back so far, or cannot
-- be read, nobody can tell.
local function was_never_here(sequence)
  local function first_from(from, to)
    local entries = redis.pcall('XRANGE', KEYS[5], from, to, 'COUNT', 1)
    return not entries.err and entries[1]
  end
  local id = string.format('%.0f', sequence) .. '-0'
  return not first_from(id, id) and first_from('-', id)
end
local known = least
local reserves, loses = ARGV[5] ~= '0', ARGV[5] == '2'
if epoch == ARGV[2] then
  known = math.max(known, tonumber(ARGV[4]))
  -- The server does not have events that there were: it crashed, was a replica that was behind, was
  -- set back to an earlier copy, or is not the one that took them. Of no topic it is known whether
  -- it had some of them.
  local seen = tonumber(ARGV[3])
  if tonumber(lost or '0') < seen then
    if head < seen then
      set(KEYS[4], seen)
    elseif head > seen and was_never_here(seen) then
      -- Others were sent later events by now.
      reserves, loses = true, true
    end
  end
end
if reserves then
  known = math.max(known + 1, now)
end
if known > least and set(KEYS[2], known) then
  least = known
  if loses then
    set(KEYS[4], known)
  end
end
return { epoch, string.format('%.0f', head), string.format('%.0f', least), string.format('%.0f', now) }
