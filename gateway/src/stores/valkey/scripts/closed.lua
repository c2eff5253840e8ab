-- What is closed and what was opened, where that is not what was read as version ARGV[1]: the version, the time, then each place
-- and its value. KEYS[1]: as in close.lua.
local version = redis.call('HGET', KEYS[1], 'version')
if not version or version == ARGV[1] then return {} end
local time = redis.call('TIME')
local said = { version, string.format('%.0f', time[1] * 1000000 + time[2]) }
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
    if fields[i] ~= 'version' then
        said[#said + 1] = fields[i]
        said[#said + 1] = fields[i + 1]
    end
end
return said
