-- KEYS: one that lies with the tags. ARGV: the channel; what is said. Answers: time in ms.
redis.call('PUBLISH', ARGV[1], ARGV[2])
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)
