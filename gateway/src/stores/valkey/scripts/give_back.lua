-- Gives back what was taken for a send of which nothing went out. ARGV[13]: when it was taken; ARGV[14]: the cuts then;
-- ARGV[15]: whether the recipient was a new one; ARGV[16]: whether the pair was the gateway's own.
if tonumber(ARGV[14]) == number.cuts then
    -- What was left when the rate was cut is gone for good.
    number.all = number.all - number.all_pace.interval
    number.sends = number.sends - number.sends_pace.interval
    keep_number()
end
if recipient ~= '' then
    if ARGV[16] == '0' and redis.call('EXISTS', KEYS[2]) == 1 then
        local pair = read_pair(KEYS[2])
        pair.state = pair.state - pair_pace.interval
        keep_pair(KEYS[2], pair)
    end
    if ARGV[15] == '1' and tonumber(redis.call('ZSCORE', KEYS[3], recipient) or nil) == tonumber(ARGV[13]) then
        redis.call('ZREM', KEYS[3], recipient)
    end
end
return 0
