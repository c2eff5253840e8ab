-- Renews a gateway's lease on one of the seats, and the clock that the limits go by.
--
-- KEYS[1]: a hash. ARGV: id, seats, lease in us, fingerprint of the recipients' key, the time in us after which this is too
-- late to be run, or 0.
--
-- The clock `v` runs at the share of the seats that may take from here: those that are free, and those whose leases have not
-- ended. Whoever lost a lease without saying goodbye sends at a share of their own, which the clock then does not give out.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local id, seats, lease, key, latest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
if latest > 0 and now > latest then return {'late'} end

local fields = redis.call('HGETALL', KEYS[1])
local held, leases, count = {}, {}, 0
for i = 1, #fields, 2 do
    local name, value = fields[i], fields[i + 1]
    if string.sub(name, 1, 2) == 'e:' then
        leases[name] = tonumber(value)
        count = count + 1
    else
        held[name] = value
    end
end

local mine = 'e:' .. id
local alone = true
for name, ends in pairs(leases) do
    if name ~= mine and ends > now then alone = false end
end
if not alone then
    if held.seats ~= ARGV[2] then return {'seats', held.seats} end
    if held.key ~= key then return {'key'} end
end

local at = tonumber(held.at or now)
local v = tonumber(held.v or 0)
local born = held.born or string.format('%.0f', now)
if now > at then
    local before = tonumber(held.seats or seats)
    local credit = math.max(before - count, 0) * (now - at)
    for _, ends in pairs(leases) do
        credit = credit + math.max(math.min(now, ends) - at, 0)
    end
    v = v + math.min(math.floor(credit / before), now - at)
end

if not leases[mine] then
    -- A seat that is free, or else the one that was lost for longest.
    while count >= seats do
        local oldest
        for name, ends in pairs(leases) do
            if ends <= now and (not oldest or ends < leases[oldest]) then oldest = name end
        end
        if not oldest then return {'full'} end
        leases[oldest] = nil
        count = count - 1
        redis.call('HDEL', KEYS[1], oldest)
    end
    count = count + 1
end
leases[mine] = now + lease

local lost, last = 0, now + lease
for _, ends in pairs(leases) do
    if ends <= now then lost = lost + 1 else last = math.min(last, ends) end
end
local function text(number) return string.format('%.0f', number) end
redis.call('HSET', KEYS[1], 'v', text(v), 'at', text(now), 'born', born, 'seats', ARGV[2], 'key', key, mine,
    text(now + lease))
return {'ok', now, v, last, seats - lost, born}
