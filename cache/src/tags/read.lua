-- KEYS: tags. ARGV: the generation of those that have none, empty to leave them so; how long a tag is kept, in ms.
-- Answers: time in ms, the server, how many tags are pending, the generation of each.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local start, keep_ms = ARGV[1], tonumber(ARGV[2])
local generations, pending = {}, 0
for place, key in ipairs(KEYS) do
    local generation = redis.call('HGET', key, 'g')
    if start ~= '' then
        if not generation then
            generation = start
            redis.call('HSET', key, 'g', generation)
        elseif redis.call('HLEN', key) > 1 then
            local fields = redis.call('HGETALL', key)
            for at = 1, #fields, 2 do
                if fields[at] ~= 'g' and tonumber(fields[at + 1]) > now_ms then
                    pending = pending + 1
                    break
                end
            end
        end
    end
    if generation and redis.call('PTTL', key) < keep_ms / 2 then
        redis.call('PEXPIRE', key, keep_ms)
    end
    generations[place] = generation or ''
end
return {now_ms, server, pending, generations}
