-- Meta said that the number's throughput is used up: halves the rate, and nothing is left for now; not where it was
-- lowered within the last second.
if now < number.cut_at + 1000000 then return 0 end
number.cut_at, number.next_step = now, now + 10000000
set_rate(math.max(math.floor(number.rate / 2), 1))
number.all = math.max(number.all, v + number.all_pace.whole)
number.sends = math.max(number.sends, v + number.sends_pace.whole)
keep_number()
return 1
