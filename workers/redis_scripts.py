"""What the transport over Redis does in one step, in Lua."""

from __future__ import annotations

TAKE = """
local held, index, unreadable = KEYS[#KEYS - 2], KEYS[#KEYS - 1], KEYS[#KEYS]
local now, most, found = redis.call('TIME')[1], tonumber(ARGV[2]), {}
if #ARGV > #KEYS then -- three and the queues, then what was acknowledged
    redis.call('HDEL', held, unpack(ARGV, #KEYS + 1))
    redis.call('ZREM', index, unpack(ARGV, #KEYS + 1))
end
local function take(i, item)
    local fine, message = pcall(cjson.decode, item)
    local tag
    if not fine then -- half a surrogate pair, say, which Python reads
        tag = string.match(item, '"delivery_tag"%s*:%s*"([^"]+)"')
    elseif type(message) == 'table' and type(message.properties) == 'table' then
        tag = message.properties.delivery_tag
    end
    if type(tag) ~= 'string' then
        redis.call('LPUSH', unreadable, item)
        redis.call('LTRIM', unreadable, 0, tonumber(ARGV[1]) - 1)
        return {i, false, ''}
    end
    local queue = ARGV[3 + i]
    if queue ~= '' then
        redis.call('ZADD', index, now, tag)
        redis.call('HSET', held, tag, '[' .. item .. ',"",' .. cjson.encode(queue) .. ']')
    end
    return {i, item, tag}
end
local queues = tonumber(ARGV[3])
for first = 1, #KEYS - 3, queues do -- by priority; of one priority, each queue in its turn
    repeat
        local before = #found
        for i = first, first + queues - 1 do
            local item = #found < most and redis.call('RPOP', KEYS[i])
            if item then found[#found + 1] = take(i, item) end
        end
    until #found == before
end
local more = 0
if #found == most then more = redis.call('EXISTS', unpack(KEYS, 1, #KEYS - 3)) end
return {more, found}
"""
"""Keys: queues, then the three of what is held. Arguments: how much that is unreadable to keep, how many to take, how
many queues there are, for each key the queue it goes back to, empty where nobody will acknowledge, and the tags that
were acknowledged since. It answers whether more waits, and what it took. Memory that is full refuses a script's first
write only (https://valkey.io/topics/eval-intro), which takes: what was taken is always held."""

END = "redis.call('HDEL', KEYS[1], unpack(ARGV)) redis.call('ZREM', KEYS[2], unpack(ARGV))"
"""Keys: the two of what is held. Arguments: tags that are acknowledged."""
