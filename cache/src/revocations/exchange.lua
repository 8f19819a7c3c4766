-- What one process knows of revoked keys and of uses, for what all of them know.
-- KEYS: revoked, version, used. ARGV: the version that the process knows, a new one that nobody had, how many revoked keys follow,
-- then id and time of each, then id and time of each key that was used.
local added, at = 0, 4
for _ = 1, tonumber(ARGV[3]) do
  added = added + redis.call('ZADD', KEYS[1], 'NX', ARGV[at + 1], ARGV[at])
  at = at + 2
end
while at < #ARGV do
  redis.call('ZADD', KEYS[3], 'GT', ARGV[at + 1], ARGV[at])
  at = at + 2
end
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -10001)
-- A list without a version was lost, or never was: everybody tells what it knows then.
if added > 0 or redis.call('EXISTS', KEYS[2]) == 0 then redis.call('SET', KEYS[2], ARGV[2]) end
-- It all goes by itself once no process has been there for 30 days; the key files remember.
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, 2592000) end
local version = redis.call('GET', KEYS[2])
if version == ARGV[1] then return {version, {}} end
return {version, redis.call('ZREVRANGE', KEYS[1], 0, 9999, 'WITHSCORES')}
