-- Adds a connection to those of its user.
-- KEYS[1]  the user's connections: a hash from id to '<since> <run> <JSON>'
-- ARGV[1]  the connection; ARGV[2] its value; ARGV[3] the limit; ARGV[4] for how many milliseconds the hash is kept
-- ARGV[5]  beyond the limit: 'ask' changes nothing, 'reject' refuses, 'evict' takes the oldest out
-- ARGV[6…] connections that are no more
-- Answers {1, ids that were taken out}, or {0, id, value, id, value, …} where there is no room.
local key, id = KEYS[1], ARGV[1]
for i = 6, #ARGV do
  redis.call('HDEL', key, ARGV[i])
end
redis.call('HDEL', key, id)
local all = redis.call('HGETALL', key)
local over = #all / 2 - tonumber(ARGV[3]) + 1
if over > 0 and ARGV[5] ~= 'evict' then
  table.insert(all, 1, 0)
  return all
end
local answer = {1}
if over > 0 then
  local ages = {}
  for i = 1, #all, 2 do
    ages[#ages + 1] = {tonumber(string.match(all[i + 1], '^%d+')) or 0, all[i]}
  end
  table.sort(ages, function(a, b) return a[1] < b[1] end)
  for i = 1, over do
    redis.call('HDEL', key, ages[i][2])
    answer[#answer + 1] = ages[i][2]
  end
end
redis.call('HSET', key, id, ARGV[2])
redis.call('PEXPIRE', key, ARGV[4])
return answer
