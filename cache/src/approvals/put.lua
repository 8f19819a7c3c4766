-- Puts a field that is not there yet: 1 when it is there now, 0 when there are too many.
-- KEYS: the hash. ARGV: field, value, the version of from now on, how many fields there may be.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  return 1
end
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[4]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], 'version', ARGV[3])
return 1
