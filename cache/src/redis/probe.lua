-- KEYS: a text, a hash, a sorted set. ARGV: a channel. Answers: time in ms, whether INFO says which server this is, the commands that its user
-- may not run, whether it may evict what is not old yet.
local refused, trouble = {}, nil

local function try(command, ...)
    local answer = redis.pcall(command, ...)
    if type(answer) ~= 'table' or not answer.err then
        return answer
    end
    -- As version 7.0 says it, and as others do.
    if string.find(answer.err, 'The user executing the script', 1, true) or string.find(answer.err, 'NOPERM', 1, true) then
        if refused[#refused] ~= command then
            refused[#refused + 1] = command
        end
    else
        trouble = trouble or answer
    end
    return nil
end

local time = try('TIME') or {0, 0}
local server, replication, memory = try('INFO', 'server') or '', try('INFO', 'replication') or '', try('INFO', 'memory') or ''
try('SET', KEYS[1], 'text', 'PX', 10000)
try('GET', KEYS[1])
try('GETRANGE', KEYS[1], 0, 15)
try('STRLEN', KEYS[1])
try('PTTL', KEYS[1])
try('EXISTS', KEYS[1])
try('HSET', KEYS[2], 'g', 'text')
try('HGET', KEYS[2], 'g')
try('HMGET', KEYS[2], 'g')
try('HLEN', KEYS[2])
try('HGETALL', KEYS[2])
try('HDEL', KEYS[2], 'w')
try('PEXPIRE', KEYS[2], 10000)
try('ZADD', KEYS[3], 1, 'a')
try('ZSCORE', KEYS[3], 'a')
try('ZCARD', KEYS[3])
try('ZRANGE', KEYS[3], 0, 0)
try('ZRANGEBYSCORE', KEYS[3], 0, 0)
try('ZREMRANGEBYSCORE', KEYS[3], 0, 0)
try('ZREM', KEYS[3], 'a')
try('DEL', KEYS[1])
try('PUBLISH', ARGV[1], '')
if trouble then
    return trouble
end
local known = #(string.match(server, 'run_id:(%x+)') or '') == 40 and string.find(replication, 'connected_slaves:%d')
-- Without a bound on its memory it evicts nothing, whatever it says.
local bounded, policy = string.find(memory, 'maxmemory:[1-9]'), string.match(memory, 'maxmemory_policy:([%a-]+)')
return {time[1] * 1000 + math.floor(time[2] / 1000), known and 1 or 0, refused, bounded and policy ~= 'noeviction' and 1 or 0}
