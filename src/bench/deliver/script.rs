//! The publish script: the one place to change when the service's own is to be used.

/// Appends to the user's history and publishes, in one step.
///
/// `KEYS[1]` is the user's plain channel; `ARGV` the payload, an idempotency key and a traceparent, each of which may be empty.
/// Answers the id and the number of subscribers.
pub(super) fn publish_script(history_size: u32, history_ttl: u32) -> String {
    format!("local size, ttl = {history_size}, {history_ttl}\n{STEPS}")
}

const STEPS: &str = r"
local base = '{' .. KEYS[1] .. '}'
local key, trace = ARGV[2] or '', ARGV[3] or ''
local sent = base .. ':sent:' .. key
if key ~= '' then
  local first = redis.call('HMGET', sent, 'id', 'subscribers')
  if first[1] then return {first[1], tonumber(first[2])} end
end
local history = base .. ':history'
local entry = {'p', ARGV[1]}
local position = ''
if trace ~= '' then
  entry[3], entry[4] = 't', trace
  position = ' ' .. trace
end
local id = redis.call('XADD', history, 'MAXLEN', '=', size, '*', unpack(entry))
redis.call('EXPIRE', history, ttl)
local subscribers = redis.call('PUBLISH', base .. ':messages', id .. position .. '\30' .. ARGV[1])
if key ~= '' then
  redis.call('HSET', sent, 'id', id, 'subscribers', subscribers)
  redis.call('EXPIRE', sent, 300)
end
return {id, subscribers}
";
