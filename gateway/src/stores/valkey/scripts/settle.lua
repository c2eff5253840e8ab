-- Says what a webhook said of a send, unless something is known of it. KEYS[1]: as in begin.lua. ARGV: what it said.
local held = redis.call('HMGET', KEYS[1], 'body', 'sealed', 'settled')
if not held[1] or held[2] or held[3] then return 0 end
redis.call('HSET', KEYS[1], 'settled', ARGV[1])
return 1
