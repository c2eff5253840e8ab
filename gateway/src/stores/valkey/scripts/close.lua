-- Closes a place for all instances; one that is closed for longer stays so. KEYS[1]: a hash of `SINCE UNTIL CODE` by place, in
-- us, UNTIL 0 for what was opened. ARGV: place, for how long (us; -1: until it is opened), code.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function text(number) return string.format('%.0f', number) end
local ever = 9000000000000000
local function read(value)
    local since, ends, code = string.match(value, '^(%d+) (%d+) (%S+)$')
    return tonumber(since), tonumber(ends), code
end
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
    if fields[i] ~= 'version' then
        local since, ends = read(fields[i + 1])
        -- What was opened is remembered for a day: until then everybody has heard of it.
        if math.max(ends, since + 86400000000) < now then redis.call('HDEL', KEYS[1], fields[i]) end
    end
end
local lasts = tonumber(ARGV[2])
local ends = ever
if lasts >= 0 then ends = math.min(now + lasts, ever) end
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
    local _, before = read(held)
    if before >= ends then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], text(now) .. ' ' .. text(ends) .. ' ' .. ARGV[3])
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1
