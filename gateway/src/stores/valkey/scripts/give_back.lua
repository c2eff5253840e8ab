-- Gives back what was taken for a send of which nothing went out. ARGV[13]: when it was taken; ARGV[14]: the changes of
-- pace then; ARGV[15]: whether the recipient was a new one; ARGV[16]: whether the pair was the gateway's own.
if tonumber(ARGV[14]) == number.changes then
    -- What was left when the rate was cut is gone for good, and one message is not the same at another pace.
    number.all = one_less(number.all, number.all_pace, number.all_lows, tonumber(ARGV[13]))
    number.sends = one_less(number.sends, number.sends_pace, number.sends_lows, tonumber(ARGV[13]))
    keep_number()
end
if recipient ~= '' then
    if ARGV[16] == '0' and redis.call('EXISTS', KEYS[2]) == 1 then
        local pair = read_pair(KEYS[2])
        pair.state = one_less(pair.state, pair_pace, pair.lows, tonumber(ARGV[13]))
        keep_pair(KEYS[2], pair)
    end
    if ARGV[15] == '1' and tonumber(redis.call('ZSCORE', KEYS[3], recipient) or nil) == tonumber(ARGV[13]) then
        redis.call('ZREM', KEYS[3], recipient)
    end
end
return 0
