-- Opens a place for all instances. KEYS[1]: as in close.lua. ARGV: place.
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f 0 0', time[1] * 1000000 + time[2]))
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1
