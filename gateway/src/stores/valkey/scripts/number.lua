-- What all scripts about one number begin with.
--
-- KEYS: the number's hash, the pair's hash, the portfolio's sorted set of recipients, the number's sorted set of service
-- windows. ARGV: the clock `v`, when it was read (us), until when it runs (us), how many of the seats may take, the seats;
-- messages a second, burst, what is kept for inbound; the pair's interval (us) and burst; the recipient or nothing; a day
-- (us). More follows.
--
-- A limit is a bucket that runs empty at `state`, in the time of `v`. One that nobody knows of was emptied when the store
-- began: it may have been, and what was known of it lost.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local live, seats = tonumber(ARGV[4]), tonumber(ARGV[5])
local v = tonumber(ARGV[1])
local seen = math.min(now, tonumber(ARGV[3])) - tonumber(ARGV[2])
if seen > 0 then v = v + math.floor(seen * live / seats) end

local per_second, burst, kept = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local recipient, day = ARGV[11], tonumber(ARGV[12])

local function text(number) return string.format('%.0f', number) end

-- What is left of a burst without what every seat has of its own for when the store is away.
local function common(whole)
    local own = math.max(math.floor(whole / (8 * seats)), 1) * seats
    if whole > own then return whole - own end
    return whole
end

local function pace(interval, whole)
    local most = common(whole)
    return { interval = interval, whole = interval * most, tolerance = interval * (most - 1) }
end

-- The paces of all messages and of sends at `rate`, a part of what the policy says.
local function paces(rate, of, whole, inbound)
    inbound = math.min(inbound, of - 1)
    if inbound > 0 then inbound = math.max(math.floor(inbound * rate / of), 1) end
    whole = math.max(math.floor(whole * rate / of), 1)
    local sends = math.max(rate - inbound, 1)
    return pace(math.ceil(1000000 / rate), whole), pace(math.ceil(1000000 / sends), math.max(whole - inbound, 1))
end

local function wait(state, of) return math.max(math.max(state - v, 0) - of.tolerance, 0) end
local function taken(state, of) return math.ceil(math.max(state - v, 0) / of.interval) end
-- How long that is by everybody else's clock.
local function lasts(span) return math.ceil(span * seats / math.max(live, 1)) end

-- How much may still be given back, as `bucket.rs` has it: the lowest backlogs that were found, by size, each with the last
-- time at which it was.
local function read_lows(held)
    local lows = {}
    for size, at, backlog in string.gmatch(held or '', '(%d+):(%d+):(%d+);') do
        lows[tonumber(size)] = { at = tonumber(at), backlog = tonumber(backlog) }
    end
    return lows
end
local function lows_text(lows)
    local held = ''
    for size, low in pairs(lows) do held = held .. size .. ':' .. text(low.at) .. ':' .. text(low.backlog) .. ';' end
    return held
end
local function found(lows, of, backlog)
    for _, low in pairs(lows) do
        if low.at >= now then
            low.backlog = math.min(low.backlog, backlog)
            return
        end
    end
    local size, most = 0, 0
    while size < 5 and backlog > 0 and backlog >= most do size, most = size + 1, math.max(most * 2, of.interval) end
    for larger = size, 5 do
        if lows[larger] then backlog = math.min(backlog, lows[larger].backlog) end
        lows[larger] = nil
    end
    lows[size] = { at = now, backlog = backlog }
end

-- The state after one more, and after one that was taken at `at` less.
local function one_more(state, of, lows)
    found(lows, of, math.max(state - v, 0))
    return math.max(state, v) + of.interval
end
local function one_less(state, of, lows, at)
    local given = of.interval
    for _, low in pairs(lows) do
        if low.at > at then given = math.min(given, low.backlog) end
    end
    for _, low in pairs(lows) do
        if low.at > at then low.backlog = low.backlog - given end
    end
    return state - given
end

-- As many left at another pace: a higher limit is earned, not given.
local function rescale(state, from, to)
    local left = from.whole - math.max(state - v, 0)
    return v + math.max(to.whole - math.floor(left * to.interval / from.interval), 0)
end

local stored = redis.call('HMGET', KEYS[1], 'all', 'sends', 'rate', 'changes', 'cut_at', 'next_step', 'of', 'burst', 'kept',
    'all_lows', 'sends_lows')
for i = 1, 9 do stored[i] = tonumber(stored[i] or nil) end
local number = {
    rate = stored[3] or per_second, changes = stored[4] or 0, cut_at = stored[5] or 0, next_step = stored[6] or 0,
    all_lows = read_lows(stored[10]), sends_lows = read_lows(stored[11]),
}
do
    local of, whole, inbound = stored[7] or per_second, stored[8] or burst, stored[9] or kept
    number.all_pace, number.sends_pace = paces(number.rate, of, whole, inbound)
    number.all = stored[1] or number.all_pace.whole
    number.sends = stored[2] or number.sends_pace.whole
end

local function set_rate(rate)
    local all, sends = paces(rate, per_second, burst, kept)
    number.all = rescale(number.all, number.all_pace, all)
    number.sends = rescale(number.sends, number.sends_pace, sends)
    number.all_pace, number.sends_pace, number.rate = all, sends, rate
    -- What was taken at another pace is not given back.
    number.all_lows, number.sends_lows, number.changes = {}, {}, number.changes + 1
end

if stored[7] and (stored[7] ~= per_second or stored[8] ~= burst or stored[9] ~= kept) then
    if number.rate == stored[7] then set_rate(per_second) else set_rate(math.min(number.rate, per_second)) end
end
-- A lowered rate comes back by the steps that are due.
while number.rate < per_second and number.next_step <= now do
    set_rate(math.min(number.rate + math.ceil(per_second / 8), per_second))
    number.next_step = number.next_step + 10000000
end

local function keep_number()
    redis.call('HSET', KEYS[1], 'all', text(number.all), 'sends', text(number.sends), 'rate', number.rate,
        'changes', number.changes, 'cut_at', text(number.cut_at), 'next_step', text(number.next_step),
        'of', per_second, 'burst', burst, 'kept', kept,
        'all_lows', lows_text(number.all_lows), 'sends_lows', lows_text(number.sends_lows))
    redis.call('PEXPIRE', KEYS[1], 604800000)
end

local pair_pace = pace(tonumber(ARGV[9]), tonumber(ARGV[10]))
local function read_pair(key)
    local held = redis.call('HMGET', key, 'state', 'closed_until', 'strikes', 'lows')
    return {
        is_known = held[1] ~= false,
        state = tonumber(held[1] or nil) or pair_pace.whole,
        closed_until = tonumber(held[2] or nil) or 0,
        strikes = tonumber(held[3] or nil) or 0,
        lows = read_lows(held[4]),
    }
end
local function keep_pair(key, pair)
    redis.call('HSET', key, 'state', text(pair.state), 'closed_until', text(pair.closed_until), 'strikes', pair.strikes,
        'lows', lows_text(pair.lows))
    redis.call('PEXPIRE', key, 21600000)
end
