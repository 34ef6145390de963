-- The roll of pods: says that one lives, and answers which of others do not.
-- KEYS[1]  a sorted set of runs by when each last said so, by the server's clock
-- ARGV[1]  for how many milliseconds a word counts; ARGV[2] the run that lives, or ''; ARGV[3…] the runs asked about
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = now - ARGV[1]
if ARGV[2] ~= '' then
  redis.call('ZADD', KEYS[1], now, ARGV[2])
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', oldest)
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
local gone = {}
for i = 3, #ARGV do
  local said = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if not said or tonumber(said) < oldest then
    gone[#gone + 1] = ARGV[i]
  end
end
return gone
