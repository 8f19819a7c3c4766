-- KEYS: where there is a permit to be had, the permits that are lent and the mark of those who wait for one; then counts.
-- ARGV: how many permits there are, 0 where none is asked for; the id of this one; for how long it is lent, in us; how long the mark stays, in
-- ms; then for each count how long what is charged takes to grow back, how long all of it does, and what is owed from before, all in us.
-- A count is the time at which it will be whole again. All are charged and the permit is lent, or nothing happens but that counts are set right.
-- Answers: 1 done, 0 over a limit, 2 no permit; the time in us; how many permits are lent; when each count is whole again.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local permits_max, first = tonumber(ARGV[1]), 1
local verdict, held = 1, 0

local function write(key, whole_at)
    local left_ms = math.ceil((whole_at - now) / 1000)
    if left_ms > 0 then
        redis.call('SET', key, string.format('%.0f', whole_at), 'PX', string.format('%.0f', left_ms))
    end
end

if permits_max > 0 then
    first = 3
    local latest = now + tonumber(ARGV[3])
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
    -- Nothing is lent for longer than this: the clock was set back.
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', latest), '+inf')) do
        redis.call('ZADD', KEYS[1], string.format('%.0f', latest), id)
    end
    held = redis.call('ZCARD', KEYS[1])
    if held >= permits_max then
        verdict = 2
    end
end

local counts, mended = {}, {}
for at = first, #KEYS do
    local arg = 5 + 3 * (at - first)
    local takes, whole, owed = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
    local kept = tonumber(redis.call('GET', KEYS[at]) or now)
    -- Further than this a count never is from whole: the clock was set back, or the limit was larger.
    local whole_at = math.min(math.max(kept, now) + owed, now + whole)
    mended[at] = kept > whole_at or owed > 0
    if whole_at + takes > now + whole then
        verdict = 0
    end
    counts[at] = whole_at
end

local answer = {}
for at = first, #KEYS do
    local takes = tonumber(ARGV[5 + 3 * (at - first)])
    if verdict == 1 and takes > 0 then
        counts[at] = counts[at] + takes
        write(KEYS[at], counts[at])
    elseif mended[at] then
        write(KEYS[at], counts[at])
    end
    answer[at - first + 1] = counts[at]
end

if permits_max > 0 and verdict == 1 then
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[2])
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(tonumber(ARGV[3]) / 1000)))
    held = held + 1
elseif verdict == 2 then
    redis.call('SET', KEYS[2], '1', 'PX', ARGV[4])
end
return {verdict, now, held, answer}
