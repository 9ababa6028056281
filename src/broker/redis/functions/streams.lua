-- Durable streams: channels of runs that clients create, append to, close and delete by HTTP.
--
-- What a stream has besides its publications is a hash beside the channel's key. Nodes decide what its
-- fields mean and what follows from them: they read fields, and commit their decision together with the
-- values that they have read. A commit whose values are not the current ones changes nothing.
--
-- Two fields are read here: "ttl", how many milliseconds the stream lives without being used, and "at",
-- until when it lives, in Unix milliseconds. A stream with neither lives as long as its history.

local function no_stream()
  return redis.error_reply('NOSTREAM the rule of this channel has no streams')
end

-- The channel of a call about its stream, or nil and the error.
local function stream_channel(key)
  local channel = channel_of(key)
  if not channel then
    return nil, unknown(key)
  end
  if channel.changes then
    return nil, redis.error_reply('TURNING other rules for the history are about to hold')
  end
  if not channel.stream_key then
    return nil, no_stream()
  end
  return channel
end

-- Sets when the stream and its publications expire. Does nothing where the channel is no stream.
set_expiry = function(key, channel)
  local fields = redis.call('HMGET', channel.stream_key, 'ttl', 'at')
  local kept = channel.age * 9 / 8
  local left = tonumber(fields[1]) or fields[2] and tonumber(fields[2]) - now_ms() or kept
  left = whole(math.max(left, 1))
  redis.call('PEXPIRE', channel.stream_key, left)
  if fields[1] or fields[2] then
    redis.call('PEXPIRE', key, whole(math.min(tonumber(left), kept)))
  end
end

-- Whether the newest entry is the last one that a fork has inherited. What follows begins an epoch, because the
-- stream that it was forked from may continue this one.
is_fork_end = function(key)
  local entry = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  return entry ~= nil and entry[2][5] == 'f'
end

-- FCALL tidegate_stream_state 2 <key> <stream key> <field>...
-- The value of each field (nil: it has none); then the last position, the position of the oldest entry and the
-- reason of the end ('': none). Writes nothing.
local function state(keys, args)
  local key = keys[1]
  local channel, fault = stream_channel(key)
  if not channel then
    return fault
  end
  local reply = redis.call('HMGET', channel.stream_key, unpack(args))
  local oldest = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
  local last = last_of(key)
  if last and is_over(channel, last) then
    last, oldest = nil, nil
  end
  local _, reason = newest_of(key, channel)
  reply[#args + 1], reply[#args + 2] = last or '', oldest and oldest[1] or ''
  reply[#args + 3] = reason or ''
  return reply
end

-- FCALL tidegate_stream_renew 2 <key> <stream key>
-- A client has read the stream, which lives for its "ttl" from now on.
local function renew_stream(keys)
  local channel, fault = stream_channel(keys[1])
  if not channel then
    return fault
  end
  if redis.call('EXISTS', channel.stream_key) == 1 then
    set_expiry(keys[1], channel)
  end
  return true
end

-- Takes `width` arguments for each of a counted list, calls `each` with them; returns where the rest begins.
local function each_of(args, at, width, each)
  local count = tonumber(args[at])
  for i = 0, count - 1 do
    local from = at + 1 + i * width
    each(args[from], args[from + 1], args[from + 2])
  end
  return at + 1 + count * width
end

local function drop_stream(key, channel)
  redis.call('DEL', key, channel.lease_key)
  channel.marks, channel.touch_at = {}, 0
end

-- The entries that a fork inherits, each under the position that it has in the other stream.
local function inherit(key, channel, entries)
  if #entries == 0 then
    return
  end
  drop_stream(key, channel)
  for i, entry in ipairs(entries) do
    local mark = i == #entries and { 'f', '1' } or {}
    redis.call('XADD', key, entry[1], 'h', entry[2], 'p', entry[3], unpack(mark))
  end
  -- Later than any other epoch of this channel, and the first entry in it continues the inherited ones.
  channel.next = nil
  redis.call('PEXPIRE', key, whole(channel.age * 9 / 8))
end

-- The position before the first publication that is kept; begins a history where there is none.
local function first_of(key)
  local oldest = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
  if not oldest then
    return position({ key }, {})
  end
  local epoch, seq = string.match(oldest[1], '^(%d+)-(%d+)$')
  return epoch .. '-' .. whole(tonumber(seq) - 1)
end

-- FCALL tidegate_stream_commit 2 <key> <stream key>
--   <count> { <field> <value that was read, or ''> }
--   <count> { <field> <new value, or '' to remove it> }
--   <'new' or ''>                                   whether what is left of another stream is removed
--   <count> { <position> <header> <payload> }       what a fork inherits
--   <count> { <payload> <header> }                  what is appended and published
--   <reason of the end, or ''> <'', 'clear' or 'purge'>
-- In one step. 'clear' removes the publications after all this, 'purge' also the fields. Returns the last
-- position, or 'conflict' where a field has another value than the node has read.
local function commit(keys, args)
  local key = keys[1]
  local channel, fault = stream_channel(key)
  if not channel then
    return fault
  end
  local sets, entries, appends, has_conflict = {}, {}, {}, false
  local at = each_of(args, 1, 2, function(field, value)
    local found = redis.call('HMGET', channel.stream_key, field)[1] or ''
    has_conflict = has_conflict or found ~= value
  end)
  at = each_of(args, at, 2, function(field, value) sets[#sets + 1] = { field, value } end)
  local is_new = args[at] == 'new'
  at = each_of(args, at + 1, 3, function(...) entries[#entries + 1] = { ... } end)
  at = each_of(args, at, 2, function(...) appends[#appends + 1] = { ... } end)
  local reason, removal = args[at], args[at + 1]
  local now = now_ms()
  local run, last, detail = run_of(key, channel, now)
  if has_conflict then
    return 'conflict'
  end
  if run == 'ended' and (#appends > 0 or reason ~= '' and removal == '') then
    return has_ended(detail)
  end
  inherit(key, channel, entries)
  if is_new then
    redis.call('DEL', channel.stream_key)
    redis.call('HSET', channel.stream_key, 'first', first_of(key))
  end
  for _, field in ipairs(sets) do
    if field[2] == '' then
      redis.call('HDEL', channel.stream_key, field[1])
    else
      redis.call('HSET', channel.stream_key, field[1], field[2])
    end
  end
  for _, publication in ipairs(appends) do
    last = store(key, channel, publication[1], publication[2], nil, now)
  end
  if reason ~= '' and run ~= 'ended' then
    last = append_end(key, channel, reason, now)
  end
  if removal ~= '' then
    drop_stream(key, channel)
    if removal == 'purge' then
      redis.call('DEL', channel.stream_key)
      return last or ''
    end
  end
  set_expiry(key, channel)
  if not last and removal == '' then
    return position(keys, {})
  end
  return last_of(key) or last or ''
end

redis.register_function({
  function_name = 'tidegate_stream_state',
  callback = state,
  flags = {'no-writes'},
})
redis.register_function('tidegate_stream_renew', renew_stream)
redis.register_function('tidegate_stream_commit', commit)
