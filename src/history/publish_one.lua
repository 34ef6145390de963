-- KEYS[1]  the user's plain channel: ws:alice
-- ARGV[1]  the payload
-- ARGV[2]  optional: an idempotency key, '' for none. A second call with it does nothing and answers as the first one did
-- ARGV[3]  optional: a W3C traceparent, '' for none
-- Returns the message's id if only the payload is given, else { id, number of pods where the user is connected }.
if #KEYS ~= 1 or #ARGV < 1 or #ARGV > 3 then
  return redis.error_reply('ERR expected one key, the channel, and a payload, an idempotency key and a traceparent')
end
local channel, payload, key, trace = KEYS[1], ARGV[1], ARGV[2] or '', ARGV[3] or ''
local refused = refusal(channel, payload, key)
if refused then
  return redis.error_reply(refused)
end
local answer = publish(channel, payload, key, trace)
if #ARGV == 1 then
  return answer[1]
end
return answer
