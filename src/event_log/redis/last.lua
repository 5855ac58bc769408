-- The last events of topics, newest first: KEYS feed, and the last sequence and the stream of each
-- topic that has a name; ARGV up to which sequence ('+' for all), events, bytes, what the keys of topics
-- begin with, how many entries of the feed are looked at, and the patterns of the other topics.
-- Returns of each event the number of its name, or 0, and the entry; and the sequence up to which there
-- may be more.
local left, bytes, looks = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])

-- The newest entry at or before the id `from`, and the sequence that it has or is before.
local sources, named = {}, {}
local function add(source, sequence)
  source.sequence = sequence
  source.from = sequence == math.huge and '+' or string.format('%.0f', sequence)
  table.insert(sources, source)
end

local function pass(source, id)
  source.entry = nil
  source.from = before(string.match(id, '^(%d+)-(%d+)$'))
  source.sequence = tonumber(string.match(source.from, '^%d+'))
end

-- Notes an entry, unless a log made none with such an id.
local function note(source, entry)
  local first, second = string.match(entry[1], '^(%d+)-(%d+)$')
  pass(source, entry[1])
  if second == '0' then
    source.entry, source.sequence = entry, tonumber(first)
  end
end

local function look_at_topic(source)
  local entry = entries_of('XREVRANGE', source.key, source.from, '-', 'COUNT', 1)[1]
  if entry then
    note(source, entry)
  else
    source.sequence = -1
  end
  return true
end

local function matches(fields)
  if fields[1] ~= 't' or named[ARGV[4] .. fields[2]] then
    return false
  end
  for i = 6, #ARGV do
    if string.find(fields[2], ARGV[i]) then
      return true
    end
  end
  return false
end

-- Returns whether it could look.
local function look_at_feed(source)
  local some, could = 1, looks > 0
  while looks > 0 do
    local entries = entries_of('XREVRANGE', KEYS[1], source.from, '-', 'COUNT', math.min(looks, some))
    for _, entry in ipairs(entries) do
      looks = looks - 1
      note(source, entry)
      if source.entry and matches(entry[2]) then
        complete(ARGV[4], entry[1], entry[2])
        return true
      end
      pass(source, entry[1])
    end
    if #entries == 0 then
      source.sequence = -1
      return true
    end
    some = math.min(some * 2, 64)
  end
  return could
end

local up_to = ARGV[1] == '+' and math.huge or tonumber(ARGV[1])
for i = 3, #KEYS, 2 do
  -- What there is to read is known without reading it.
  local last = tonumber(redis.call('MGET', KEYS[i - 1])[1] or up_to)
  named[KEYS[i]] = true
  add({ number = (i - 1) / 2, key = KEYS[i], look = look_at_topic }, math.min(up_to, last))
end
if ARGV[6] then
  add({ number = 0, look = look_at_feed }, up_to)
end

-- The source whose next entry may be the newest. Of those that have the same sequence, the entry of one
-- is known, and the others are looked at first: what is returned must be after all that is left.
local function newest()
  local newest = { sequence = -1 }
  for _, source in ipairs(sources) do
    local sequence = source.sequence
    if sequence > newest.sequence or sequence == newest.sequence and newest.entry then
      newest = source
    end
  end
  return newest
end

local events = {}
while left > 0 and bytes > 0 do
  local source = newest()
  local entry = source.entry
  if entry then
    table.insert(events, { source.number, entry })
    left = left - 1
    for _, field in ipairs(entry[2]) do
      bytes = bytes - #field
    end
    pass(source, entry[1])
  elseif source.sequence < 0 or not source.look(source) then
    break
  end
end
local sequence = newest().sequence
return { events, sequence >= 0 and string.format('%.0f', sequence) }
