-- The next events of all topics: KEYS feed; ARGV the position as an id, events, bytes, and what the
-- keys of topics begin with.
return read_bounded('XRANGE', KEYS[1], ARGV[1], '+', tonumber(ARGV[2]), tonumber(ARGV[3]),
  function(first, second)
    return first .. '-' .. string.format('%.0f', second + 1)
  end,
  function(id, fields)
    -- An event that is too long for the feed is in its topic, if it was not trimmed there.
    if #fields == 4 and fields[1] == 't' then
      local stored = entries_of('XRANGE', ARGV[4] .. fields[2], id, id)[1]
      if stored and stored[2][1] == 'e' then
        table.insert(fields, 'e')
        table.insert(fields, stored[2][2])
      end
    end
  end)
