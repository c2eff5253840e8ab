-- Tells a store that has lost what it knew which recipients were counted. KEYS: the portfolio's sorted set, and the hash of
-- what is known to be lost. ARGV: how many there were at most, a day (us), then each recipient and their age (us).
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local known = tonumber(redis.call('HGET', KEYS[2], 'known') or 0)
local again = 0
for i = 3, #ARGV, 2 do
    again = again + redis.call('ZADD', KEYS[1], 'NX', string.format('%.0f', now - tonumber(ARGV[i + 1])), ARGV[i])
end
redis.call('HSET', KEYS[2], 'known', math.max(known, tonumber(ARGV[1])))
redis.call('HINCRBY', KEYS[2], 'again', again)
local lasts = string.format('%.0f', math.ceil(tonumber(ARGV[2]) / 1000))
redis.call('PEXPIRE', KEYS[2], lasts)
redis.call('PEXPIRE', KEYS[1], lasts)
return again
