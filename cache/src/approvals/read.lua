-- The version and all fields with their values, or nothing when the version is the one that is known.
-- KEYS: the hash. ARGV: the version that is known.
local version = redis.call('HGET', KEYS[1], 'version') or '-'
if version == ARGV[1] then
  return {}
end
local answer = { version }
for _, part in ipairs(redis.call('HGETALL', KEYS[1])) do
  answer[#answer + 1] = part
end
return answer
