-- KEYS[5] is the pair of the same recipient as of KEYS[2], whom ARGV[13] names: what was taken under both counts together.
local before = ARGV[13]
if redis.call('EXISTS', KEYS[5]) == 1 then
    local pair, other = read_pair(KEYS[2]), read_pair(KEYS[5])
    found(pair.lows, pair_pace, math.max(pair.state - v, 0))
    pair.state = math.max(pair.state, v) + math.max(other.state - v, 0)
    pair.closed_until = math.max(pair.closed_until, other.closed_until)
    pair.strikes = math.max(pair.strikes, other.strikes)
    keep_pair(KEYS[2], pair)
    redis.call('DEL', KEYS[5])
end
for i = 3, 4 do
    local at = redis.call('ZSCORE', KEYS[i], before)
    if at then
        redis.call('ZADD', KEYS[i], 'GT', at, recipient)
        redis.call('ZREM', KEYS[i], before)
    end
end
return 0
