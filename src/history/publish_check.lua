-- KEYS  the users' plain channels, one for each message
-- ARGV  three for each message: the payload, an idempotency key and a traceparent, '' for none
-- Returns { { id, number of pods }, ... } in their order. All are published, or none.
local function message(index)
  local at = 3 * (index - 1)
  return KEYS[index], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
end
for index = 1, #KEYS do
  local refused = refusal(message(index))
  if refused then
    return redis.error_reply(refused)
  end
end
