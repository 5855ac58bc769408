-- The next events of all topics: KEYS feed; ARGV the position as an id, events, bytes, and what the
-- keys of topics begin with.
return read_bounded('XRANGE', KEYS[1], ARGV[1], '+', tonumber(ARGV[2]), tonumber(ARGV[3]), after, ARGV[4])
