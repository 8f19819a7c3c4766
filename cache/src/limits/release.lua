-- KEYS: the permits that are lent; the mark of those who wait for one. ARGV: the id of the one that is given back; the channel; what is said.
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('EXISTS', KEYS[2]) == 1 then
    redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return 1
