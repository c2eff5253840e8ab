-- Writes a send down unless one of this name is: then says its body's fingerprint, whether it is under way, its answer, and
-- what a webhook said. KEYS[1]: a hash. ARGV: the fingerprint, what tells this run from others, for how many ms it may be
-- under way, for how many it is kept.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('HMGET', KEYS[1], 'body', 'until', 'sealed', 'settled')
if held[1] then
    local runs = 0
    if tonumber(held[2] or 0) > now then runs = 1 end
    return { held[1], runs, held[3] or '', held[4] or '' }
end
redis.call('HSET', KEYS[1], 'body', ARGV[1], 'run', ARGV[2], 'until', string.format('%.0f', now + ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {}
