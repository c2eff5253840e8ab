-- Tests every limit of one send, and takes one of each if each has one.
--
-- ARGV[13]: whether it is a template; ARGV[14]: how many recipients the portfolio may have, or -1; ARGV[15]: whether the
-- pair may be taken from what the gateway has of it for itself. It is, where a store that is not old enough knows nothing of
-- the pair, and nobody would be written to for as long as a message to the pair takes.
-- Says whether it was taken, how long each limit would have it wait (us): throughput, pair, recipients; how many of the
-- burst are taken of all and of sends, the rate, the portfolio's recipients, then of what was taken: the time, the changes of pace,
-- whether the recipient is a new one, the pair's strikes, and whether it was the gateway's own.
local throughput = math.max(wait(number.all, number.all_pace), wait(number.sends, number.sends_pace))
local pair_wait, unique_wait, count, pair = 0, 0, 0, nil
local counts, is_own = false, false
if recipient ~= '' then
    pair = read_pair(KEYS[2])
    if pair.closed_until > now then
        pair_wait = pair.closed_until - now
    else
        pair_wait = lasts(wait(pair.state, pair_pace))
        if pair_wait > 0 and not pair.is_known and ARGV[15] == '1' then is_own, pair_wait = true, 0 end
    end
    local most = tonumber(ARGV[14])
    if most >= 0 and ARGV[13] == '1' then
        local wrote = tonumber(redis.call('ZSCORE', KEYS[4], recipient) or nil)
        counts = not wrote or wrote + day <= now
    end
    if counts then
        redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', text(now - day))
        -- Those that a store before this one counted, and that nobody has named since.
        local lost = redis.call('HMGET', KEYS[5], 'known', 'again')
        count = redis.call('ZCARD', KEYS[3]) + math.max(tonumber(lost[1] or 0) - tonumber(lost[2] or 0), 0)
        if count >= most and not redis.call('ZSCORE', KEYS[3], recipient) then
            local oldest = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
            unique_wait = 1000000
            if oldest[2] then unique_wait = math.max(tonumber(oldest[2]) + day - now, 1) end
        end
    end
end
local is_new = 0
local passes = throughput == 0 and pair_wait == 0 and unique_wait == 0
if passes then
    number.all = one_more(number.all, number.all_pace, number.all_lows)
    number.sends = one_more(number.sends, number.sends_pace, number.sends_lows)
    keep_number()
    if pair and not is_own then
        pair.state = one_more(pair.state, pair_pace, pair.lows)
        keep_pair(KEYS[2], pair)
    end
    if counts then
        is_new = redis.call('ZADD', KEYS[3], text(now), recipient)
        count = count + is_new
        redis.call('PEXPIRE', KEYS[3], text(math.ceil(day / 500)))
    end
    -- How long the next one would wait.
    throughput = math.max(wait(number.all, number.all_pace), wait(number.sends, number.sends_pace))
end
return {
    passes and 1 or 0, lasts(throughput), pair_wait, unique_wait, taken(number.all, number.all_pace),
    taken(number.sends, number.sends_pace), number.rate, count, now, number.changes, is_new, pair and pair.strikes or 0,
    is_own and 1 or 0,
}
