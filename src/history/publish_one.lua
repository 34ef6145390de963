-- KEYS[1]  the user's plain channel: ws:alice
-- KEYS[2]  optional: the user's history, {ws:alice}:history. For clients of a cluster that follow ASK: while the slot moves
--          they are told to try again, instead of beginning a second history where it goes
-- ARGV[1]  the payload
-- ARGV[2]  optional: an idempotency key, '' for none. A second call with it does nothing and answers as the first one did
-- ARGV[3]  optional: a W3C traceparent, '' for none
-- Returns the message's id if only the payload is given, else { id, number of pods where the user is connected }.
local is_known = #KEYS == 1 or #KEYS == 2 and KEYS[2] == names(KEYS[1], '').history
if not is_known or #ARGV < 1 or #ARGV > 3 then
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
