"""What is done in Redis in one step, in Lua. The clock is Redis's own; times are in milliseconds since 1970.

An account is one hash: `paused` (until when), `tokens` and `at` (the bucket of a second), `minute` and `minute_at`,
`day` and `sent` (the day's number and its count), `rate` (a second), `rate_at` (when that last changed) and
`slowed_at`. It is forgotten two days after it was last written.
"""

from __future__ import annotations

_NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local day = math.floor(clock[1] / 86400)
local KEPT_S = 172800
"""

RESERVE = (
    _NOW
    + """
-- KEYS: account. ARGV: wanted; per second, per minute, per day, rate to begin with (each 0: none); share of the
-- buckets to leave to the high lane; 1 for the high lane. Answers {granted, wait in ms, what holds up}.
local wanted, rate, per_minute, per_day = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local begins_at, share, high = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
local state = redis.call('HMGET', KEYS[1], 'paused', 'tokens', 'at', 'minute', 'minute_at', 'day', 'sent', 'rate',
  'rate_at')
local paused = tonumber(state[1] or '0')
if paused > now then return {0, paused - now, 'pause'} end
if begins_at > 0 then
  local fastest = rate
  rate = tonumber(state[8] or begins_at)
  if fastest > 0 then rate = math.min(rate, fastest) end
elseif rate <= 0 and state[8] then
  redis.call('HDEL', KEYS[1], 'tokens', 'at', 'rate', 'rate_at')  -- its limit was lifted
end
if rate <= 0 and per_minute <= 0 and per_day <= 0 then return {wanted, 0, ''} end

local granted, wait_ms, limit = wanted, 0, ''
-- less than a twentieth of a second's worth is not granted: a window of a few rows costs as much as a whole one
local function hold_up(free, free_in_ms, name, a_second)
  local enough = math.max(1, math.min(wanted, math.floor(a_second / 20)))
  granted = math.min(granted, free < enough and 0 or free)
  if free < enough and free_in_ms > wait_ms then wait_ms, limit = free_in_ms, name end
end
-- what a bucket holds, what it grants, and when it grants again: as much as is wanted, or a few seconds' worth
local function bucket(tokens, at, size, a_second)
  tokens = math.min(size, tonumber(tokens or size) + math.max(0, now - tonumber(at or now)) * a_second / 1000)
  local kept = math.min(size * share, size - 1)
  local worth_it = math.min(wanted, size - kept, math.max(1, a_second * 5))
  return tokens, math.floor(tokens - kept), math.ceil((kept + worth_it - tokens) * 1000 / a_second)
end

local tokens, minute, sent, second_free
if rate > 0 then
  local free_in_ms
  tokens, second_free, free_in_ms = bucket(state[2], state[3], math.max(1, rate), rate)
  hold_up(second_free, free_in_ms, 'second', rate)
end
if per_minute > 0 then
  local free, free_in_ms
  minute, free, free_in_ms = bucket(state[4], state[5], per_minute, per_minute / 60)
  hold_up(free, free_in_ms, 'minute', per_minute / 60)
end
if per_day > 0 then
  sent = tonumber(state[6] or '0') == day and tonumber(state[7] or '0') or 0
  -- looked at again before midnight, for the quota may be lifted
  if not high then hold_up(per_day - sent, math.min((day + 1) * 86400000 - now, 900000), 'day', 0) end
end

if tokens then
  local rate_at = tonumber(state[9] or now)
  local is_bottleneck = second_free < wanted and math.max(0, second_free) <= granted
  if begins_at > 0 and is_bottleneck and now - rate_at >= 1000 then
    rate, rate_at = math.max(rate + 1, rate * 1.05), now
  end
  redis.call('HSET', KEYS[1], 'tokens', tostring(tokens - granted), 'at', now, 'rate', tostring(rate),
    'rate_at', rate_at)
end
if minute then redis.call('HSET', KEYS[1], 'minute', tostring(minute - granted), 'minute_at', now) end
if sent then redis.call('HSET', KEYS[1], 'day', day, 'sent', sent + granted) end
redis.call('EXPIRE', KEYS[1], KEPT_S)
return {granted, wait_ms, limit}
"""
)

GIVE_BACK = (
    _NOW
    + """
-- KEYS: account. ARGV: count. What a bucket then holds above its size is cut off by the next who reserves.
local count = tonumber(ARGV[1])
local state = redis.call('HMGET', KEYS[1], 'tokens', 'minute', 'day', 'sent')
if state[1] then redis.call('HSET', KEYS[1], 'tokens', tostring(state[1] + count)) end
if state[2] then redis.call('HSET', KEYS[1], 'minute', tostring(state[2] + count)) end
if state[4] and tonumber(state[3]) == day then redis.call('HSET', KEYS[1], 'sent', math.max(0, state[4] - count)) end
return 0
"""
)

PAUSE = (
    _NOW
    + """
-- KEYS: account. ARGV: pause in ms. The longer of two pauses stands.
local ends = math.max(now + tonumber(ARGV[1]), tonumber(redis.call('HGET', KEYS[1], 'paused') or '0'))
redis.call('HSET', KEYS[1], 'paused', ends)
redis.call('EXPIRE', KEYS[1], math.max(KEPT_S, math.ceil((ends - now) / 1000) + 1))
return ends
"""
)

SLOW = (
    _NOW
    + """
-- KEYS: account. ARGV: pause in ms, rate to begin with. Halves the rate, but once a second however many were told;
-- after the pause the bucket fills from nothing.
local state = redis.call('HMGET', KEYS[1], 'paused', 'rate', 'slowed_at')
local ends = math.max(now + tonumber(ARGV[1]), tonumber(state[1] or '0'))
if now - tonumber(state[3] or '0') >= 1000 then
  local rate = math.max(1, tonumber(state[2] or ARGV[2]) / 2)
  redis.call('HSET', KEYS[1], 'rate', tostring(rate), 'slowed_at', now)
end
redis.call('HSET', KEYS[1], 'paused', ends, 'tokens', '0', 'at', ends, 'rate_at', ends)
redis.call('EXPIRE', KEYS[1], KEPT_S)
return ends
"""
)

SEATS = (
    _NOW
    + """
-- KEYS: seats. ARGV: wanted, most, for how long in ms, holder. The holder's own are kept, free ones are added.
-- Answers how many it holds.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local wanted, free, ends = tonumber(ARGV[1]), ARGV[2] - redis.call('ZCARD', KEYS[1]), now + tonumber(ARGV[3])
local held = 0
for number = 1, wanted do
  local seat = ARGV[4] .. '/' .. number
  local is_mine = redis.call('ZSCORE', KEYS[1], seat)
  if is_mine or free > 0 then
    redis.call('ZADD', KEYS[1], ends, seat)
    held = held + 1
    if not is_mine then free = free - 1 end
  end
end
if held > 0 then redis.call('PEXPIRE', KEYS[1], math.max(ARGV[3] + 1000, redis.call('PTTL', KEYS[1]))) end
return held
"""
)

LEAVE = """
-- KEYS: seats. ARGV: how many, holder.
for number = 1, tonumber(ARGV[1]) do redis.call('ZREM', KEYS[1], ARGV[2] .. '/' .. number) end
return 0
"""

TALLY = """
-- KEYS: prefix of the per-minute counters. ARGV: sent, dead. Answers the sums of this minute and the last.
local minute = math.floor(redis.call('TIME')[1] / 60)
local this, last = KEYS[1] .. ':' .. minute, KEYS[1] .. ':' .. (minute - 1)
local sent = redis.call('HINCRBY', this, 'sent', ARGV[1])
local dead = redis.call('HINCRBY', this, 'dead', ARGV[2])
redis.call('EXPIRE', this, 180)
local before = redis.call('HMGET', last, 'sent', 'dead')
return {sent + tonumber(before[1] or '0'), dead + tonumber(before[2] or '0')}
"""
