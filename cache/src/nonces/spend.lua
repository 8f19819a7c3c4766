-- KEYS: mark, nonce. ARGV: when the signature was made, when it expires, ms of leeway. Answers 0 when the nonce is taken, else why not.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local created, expires, leeway = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- A server that was started again, or took over from another one, need not have all that was told before.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local mark = redis.call('HMGET', KEYS[1], 'run', 'since')
local since = tonumber(mark[2] or '')
if mark[1] ~= run or not since then
  since = now
  redis.call('HSET', KEYS[1], 'run', run, 'since', string.format('%.0f', now))
end
if created > now + leeway then return 2 end
if expires <= now then return 3 end
-- It may have been used before it was made, as far as the leeway goes.
if created <= since + leeway then return 4 end
if not redis.call('SET', KEYS[2], '1', 'NX', 'PXAT', ARGV[2]) then return 1 end
return 0
