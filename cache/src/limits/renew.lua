-- KEYS: the permits that are lent. ARGV: how many there are; for how long they are lent, in us; the ids of those to renew.
-- One that is not there any more, since Redis lost it, is lent anew if there is room. Answers: how many are lent; for each id whether it is.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local permits_max, latest = tonumber(ARGV[1]), string.format('%.0f', now + tonumber(ARGV[2]))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local kept = {}
for at = 3, #ARGV do
    kept[at - 2] = 0
    if redis.call('ZSCORE', KEYS[1], ARGV[at]) then
        redis.call('ZADD', KEYS[1], latest, ARGV[at])
        kept[at - 2] = 1
    end
end
for at = 3, #ARGV do
    if kept[at - 2] == 0 and redis.call('ZCARD', KEYS[1]) < permits_max then
        redis.call('ZADD', KEYS[1], latest, ARGV[at])
        kept[at - 2] = 1
    end
end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(tonumber(ARGV[2]) / 1000)))
return {redis.call('ZCARD', KEYS[1]), kept}
