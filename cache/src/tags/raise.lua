-- KEYS: tags. ARGV: their new generation; how long a tag is kept, in ms; the write, empty if there is none to mark; how long it is
-- pending, in ms, 0 to end its marks; how many marks a tag has at most; the channel; the tags as they are told to others.
-- Answers: time in ms, the server, its replicas.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local replicas = tonumber(string.match(redis.call('INFO', 'replication'), 'connected_slaves:(%d+)'))
local generation, keep_ms, write, pending_ms, marks_max = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

-- Where the mark goes: a field of its own, or beyond the bound the one that is shared, which nobody ends early.
local function place(key)
    if redis.call('HLEN', key) <= marks_max then
        return 'w' .. write
    end
    local fields = redis.call('HGETALL', key)
    for at = 1, #fields, 2 do
        if fields[at] ~= 'g' and tonumber(fields[at + 1]) <= now_ms then
            redis.call('HDEL', key, fields[at])
        end
    end
    return redis.call('HLEN', key) <= marks_max and 'w' .. write or 'shared'
end

for _, key in ipairs(KEYS) do
    redis.call('HSET', key, 'g', generation)
    if write ~= '' then
        redis.call('HDEL', key, 'w' .. write)
        if pending_ms > 0 then
            local field = place(key)
            local until_ms = math.max(now_ms + pending_ms, tonumber(redis.call('HGET', key, field) or 0))
            redis.call('HSET', key, field, string.format('%.0f', until_ms))
        end
    end
    redis.call('PEXPIRE', key, keep_ms)
end
redis.call('PUBLISH', ARGV[6], server .. generation .. ARGV[7])
return {now_ms, server, replicas}
