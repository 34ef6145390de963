-- Tells the fleet whether a pod hears its canary, and answers how many do and how many do not.
-- KEYS[1]  those that hear, KEYS[2] those that do not: sorted sets by when they last said so, by the server's clock
-- ARGV[1]  the pod; ARGV[2] '1' if it hears; ARGV[3] for how many milliseconds a word counts
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local mine, other = KEYS[1], KEYS[2]
if ARGV[2] ~= '1' then
  mine, other = other, mine
end
redis.call('ZREM', other, ARGV[1])
redis.call('ZADD', mine, now, ARGV[1])
for _, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - ARGV[3])
  redis.call('PEXPIRE', key, ARGV[3])
end
return {redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2])}
