-- Names for values of one owner, by hashes of both. KEYS: names, when each was shown. ARGV: how long names live in ms, how many there may be,
-- then for each value: its hash, the hash of a new name, the new name sealed, the value sealed.
-- Gives for each value the sealed name that it had; empty where it has the new one now.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function forget(members)
  for _, member in ipairs(members) do
    redis.call('HDEL', KEYS[1], 'v' .. string.sub(member, 1, 32), 'n' .. string.sub(member, 33))
    redis.call('ZREM', KEYS[2], member)
  end
end
forget(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[1], 'LIMIT', 0, 1000))
local names = {}
for at = 3, #ARGV, 4 do
  local value, name = ARGV[at], ARGV[at + 1]
  local known = redis.call('HGET', KEYS[1], 'v' .. value)
  if known then
    name = string.sub(known, 1, 32)
    names[#names + 1] = string.sub(known, 33)
  else
    redis.call('HSET', KEYS[1], 'v' .. value, name .. ARGV[at + 2], 'n' .. name, ARGV[at + 3])
    names[#names + 1] = ''
  end
  redis.call('ZADD', KEYS[2], now, value .. name)
end
local over = redis.call('ZCARD', KEYS[2]) - ARGV[2]
if over > 0 then forget(redis.call('ZRANGE', KEYS[2], 0, over - 1)) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return names
