-- KEYS: the replicas that are there. ARGV: this one; how long it is taken to be there, in us. Answers: how many there are; how many come before.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local latest = now + tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
-- Written before the clock was set back.
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.0f', latest), '+inf')
redis.call('ZADD', KEYS[1], string.format('%.0f', latest), ARGV[1])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(tonumber(ARGV[2]) / 1000)))
local before = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if id < ARGV[1] then
        before = before + 1
    end
end
return {redis.call('ZCARD', KEYS[1]), before}
