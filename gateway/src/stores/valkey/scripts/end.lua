-- Ends a run. KEYS[1]: as in begin.lua. ARGV: the fingerprint, the run, for how many ms it is kept, the answer or nothing, and
-- whether nothing was sent.
local held = redis.call('HMGET', KEYS[1], 'run', 'settled')
if held[1] and held[1] ~= ARGV[2] then return 0 end
if ARGV[5] == '1' and not held[2] then return redis.call('DEL', KEYS[1]) end
if ARGV[4] == '' and not held[1] then return 0 end
-- Also where the store has forgotten it: what came of it is known here.
redis.call('HSET', KEYS[1], 'body', ARGV[1], 'run', ARGV[2], 'until', '0')
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'sealed', ARGV[4]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
