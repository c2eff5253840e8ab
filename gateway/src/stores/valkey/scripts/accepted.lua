-- Meta accepted a message to this recipient: its failures are over.
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('HSET', KEYS[2], 'strikes', 0) end
return 0
