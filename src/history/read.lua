-- Reads a user's history for a client that connects, and sees to it that there is a place to resume from. Somebody of the
-- user's is here, so what there is stays for another lifetime.
-- KEYS[1]  the user's plain channel: ws:alice
-- ARGV[1]  the lifetime in milliseconds
-- ARGV[2]  where to begin: an entry's id, '-' for the oldest one, '+' for the newest one and nothing else
-- ARGV[3]  most entries to return
-- Returns entries as XRANGE does. One without fields is a mark: the place of a user for whom nothing was published yet. It
-- is a key of its own, for a history of one entry takes 4 KiB; the first publication moves it into the history.
local history, mark = '{' .. KEYS[1] .. '}:history', '{' .. KEYS[1] .. '}:mark'
local lifetime, from, most = ARGV[1], ARGV[2], ARGV[3]

local found
if from == '+' then
  found = redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1)
else
  found = redis.call('XRANGE', history, from, '+', 'COUNT', most)
end
if #found > 0 then
  redis.call('PEXPIRE', history, lifetime)
  return found
end

local position = redis.call('GET', mark)
if from ~= '+' and from ~= '-' then
  -- As XRANGE would, were it an entry.
  local function parts(id)
    local milliseconds, sequence = id:match('^(%d+)%-(%d+)$')
    return tonumber(milliseconds), tonumber(sequence)
  end
  local at, nth = parts(position or '0-0')
  local begin, first = parts(from)
  if not position or at < begin or (at == begin and nth < first) then
    return {}
  end
end
if not position then
  local now = redis.call('TIME')
  position = string.format('%.0f-0', now[1] * 1000 + math.floor(now[2] / 1000))
end
redis.call('SET', mark, position, 'PX', lifetime)
return { { position, {} } }
