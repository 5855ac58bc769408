-- The next events of a topic: KEYS topic; ARGV the position as an id, events, bytes.
return read_bounded('XRANGE', KEYS[1], ARGV[1], '+', tonumber(ARGV[2]), tonumber(ARGV[3]), after)
