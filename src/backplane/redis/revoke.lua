-- Keeps a revocation or takes one out, and tells all pods in the same step.
-- KEYS[1]  a hash from name to '<until, in seconds> <JSON>'
-- ARGV[1]  the channel of orders; ARGV[2] the order; ARGV[3] the name; ARGV[4] its value, or '' to take it out
-- ARGV[5]  how many there may be
-- Answers how many pods hear it, -1 where there is none to take out, -2 where there are too many.
if ARGV[4] == '' then
  if redis.call('HDEL', KEYS[1], ARGV[3]) == 0 then
    return -1
  end
else
  local known = redis.call('HEXISTS', KEYS[1], ARGV[3]) == 1
  if not known and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
    return -2
  end
  redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
end
return redis.call('PUBLISH', ARGV[1], ARGV[2])
