-- Meta said that this recipient got too many: closes the pair for 4^n seconds, unless it is closed.
local pair = read_pair(KEYS[2])
if pair.closed_until > now then return 0 end
if pair.closed_until + 3600000000 <= now then pair.strikes = 0 end
pair.closed_until = now + 4 ^ pair.strikes * 1000000
pair.strikes = math.min(pair.strikes + 1, 6)
keep_pair(KEYS[2], pair)
return 1
