-- Publishes for users of websocket-service: appends each message to its user's history and sends it to the pods where the
-- user is connected, as one step. For Redis 6.0 and later. How to call it is said at the end.
--
-- Size, age and limit are those of the service that printed this. Print it anew when they change.

-- Newest messages of each user that are kept; Redis keeps up to a hundred more, for it trims whole blocks. 0: no history.
local SIZE = ${SIZE}
-- For how long after the last of them, in milliseconds.
local AGE_MS = ${AGE_MS}
-- Largest payload, in bytes.
local LIMIT = ${LIMIT}
-- How long an idempotency key is remembered, in seconds.
local REMEMBERED_S = ${REMEMBERED_S}
-- How it is sent. SPUBLISH in a cluster: to the nodes of the user's slot. Without history nobody is subscribed in that way.
local SEND = SIZE > 0 and '${SEND}' or 'PUBLISH'

-- What belongs to a user is named after the user's plain channel, which stands in braces so that Redis Cluster keeps it all
-- on one node.
local function names(channel, key)
  local tag = '{' .. channel .. '}:'
  return {
    history = tag .. 'history',
    mark = tag .. 'mark',
    -- Without history there is the plain channel only.
    messages = SIZE > 0 and tag .. 'messages' or channel,
    answer = key ~= '' and tag .. 'idempotency:' .. key,
  }
end

-- The id and the number of pods of the first publication under this key, kept as `<id> <pods>`; no id without history.
local ANSWER = '^(%S*) (%d+)$'

-- A W3C traceparent of version 00. Anything else is ignored, as the standard says: the pods would not take it.
local function is_trace(text)
  local trace, parent = text:match('^00%-([0-9a-f]+)%-([0-9a-f]+)%-[0-9a-f][0-9a-f]$')
  return trace and #trace == 32 and #parent == 16 and trace:find('[^0]') and parent:find('[^0]')
end

-- Looks for everything that could stop a publication half-way, for Redis takes nothing back. Returns an error's text, or
-- nothing. A key of the wrong type raises.
local function refusal(channel, payload, key)
  if #payload == 0 then
    return 'ERR the payload is empty'
  end
  if #payload > LIMIT then
    return 'ERR the payload is larger than ' .. LIMIT .. ' bytes'
  end
  local name = names(channel, key)
  if SIZE > 0 and redis.call('XLEN', name.history) == 0 then
    redis.call('GET', name.mark)
  end
  local answer = name.answer and redis.call('GET', name.answer)
  if answer and not answer:match(ANSWER) then
    return 'ERR the idempotency key holds something else than an answer'
  end
  -- Redis 7.0 can tell what the ACL will say. Before, a user without a right below may append without publishing.
  if redis.acl_check_cmd then
    local allowed = redis.acl_check_cmd(SEND, name.messages, '')
    if SIZE > 0 then
      allowed = allowed and redis.acl_check_cmd('XADD', name.history, '*', 'p', '')
        and redis.acl_check_cmd('PEXPIRE', name.history, '1') and redis.acl_check_cmd('DEL', name.mark)
    end
    if name.answer then
      allowed = allowed and redis.acl_check_cmd('SET', name.answer, '')
    end
    if not allowed then
      return 'NOPERM this user has no permissions to publish with this script'
    end
  end
  return nil
end

-- Publishes one message that was not refused. The first write is one that a full Redis refuses; after it nothing is refused.
local function publish(channel, payload, key, trace)
  local name = names(channel, key)
  local answer = name.answer and redis.call('GET', name.answer)
  if answer then
    local id, pods = answer:match(ANSWER)
    return { id ~= '' and id, tonumber(pods) }
  end
  local id, message = false, payload
  if SIZE > 0 then
    -- A place that clients were given to resume from while there was no message becomes the first entry: whoever finds it
    -- there later knows that nothing before it is missing.
    if redis.call('XLEN', name.history) == 0 then
      local mark = redis.call('GET', name.mark)
      if mark then
        redis.pcall('XADD', name.history, mark, 'mark', '')
        redis.call('DEL', name.mark)
      end
    end
    local head
    if is_trace(trace) then
      id = redis.call('XADD', name.history, 'MAXLEN', '~', SIZE, '*', 'p', payload, 't', trace)
      head = id .. ' ' .. trace
    else
      id = redis.call('XADD', name.history, 'MAXLEN', '~', SIZE, '*', 'p', payload)
      head = id
    end
    redis.call('PEXPIRE', name.history, AGE_MS)
    message = head .. '\30' .. payload
  end
  local pods = redis.call(SEND, name.messages, message)
  if name.answer then
    redis.call('SET', name.answer, (id or '') .. ' ' .. pods, 'EX', REMEMBERED_S)
  end
  return { id, pods }
end

