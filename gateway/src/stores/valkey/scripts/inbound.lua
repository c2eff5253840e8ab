-- Counts a message that came in, into debt of a second at most, and opens its sender's service window.
local most = v + number.all_pace.whole + 1000000
most = math.max(most, number.all)
number.all = one_more(number.all, number.all_pace, number.all_lows)
if number.all > most then
    -- The debt ends here whatever was sent before.
    number.all, number.all_lows = most, { [0] = { at = now + 1, backlog = 0 } }
end
keep_number()
if recipient ~= '' then
    redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', text(now - day))
    redis.call('ZADD', KEYS[4], text(now), recipient)
    redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -262145)
    redis.call('PEXPIRE', KEYS[4], text(math.ceil(day / 500)))
end
return 0
