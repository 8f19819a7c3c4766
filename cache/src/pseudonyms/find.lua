-- The sealed values behind names of one owner. KEYS: names. ARGV: the hash of each name.
local fields = {}
for _, name in ipairs(ARGV) do fields[#fields + 1] = 'n' .. name end
return redis.call('HMGET', KEYS[1], unpack(fields))
