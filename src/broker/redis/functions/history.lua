-- Appends to a channel's history and publishes, in one step.
--
-- A channel's history is the stream with the channel's name. Its entries are <epoch>-<seq>, with
-- the fields h (the header, a JSON object) and p (the payload). An epoch has nineteen digits: the
-- milliseconds at which it began, and six digits of the server's replication id. A server that was
-- promoted or has loaded a snapshot never continues another server's epoch: that server may have
-- continued it further, and one position would stand for two publications. It begins an epoch of
-- its own, whose first entry gives in "prev" the position that it continues. A server that was
-- given the slot or has read its append-only file has all entries and continues the epoch. An epoch
-- that began before its rule kept history is over, as if the stream were gone, because publications
-- in between were not stored.
--
-- Changed rules apply from a time of this server's clock, a moment after they were installed, so
-- that all nodes read them before: a node without them would bypass the history. An epoch that
-- begins because the one before is over has "rules_changed" in its first entry.
--
-- Age is measured by this server's clock. Every eighth of the age, the newest position is marked
-- with the time; entries before a mark that is too old are trimmed.

-- Maximum number of remembered channels, so that a flood of names does not stay in memory.
local CHANNELS_MAX = 20000

-- The header fields that are used, and their types.
local FIELDS = { id = 'string', ts = 'number', node = 'string', session = 'string',
  user = 'string', traceparent = 'string', binary = 'boolean' }

-- The end of a header line. It carries the server's secret, which proves to nodes that a function
-- or a node wrote the line, and not a client whose text a service relays.
local LINE_END = ',"key":"' .. SECRET .. '"}\n'

-- How far in the future, in milliseconds, the time may be at which rules apply. A later one comes
-- from the clock of another server.
local SETTLE_MAX = 2000

-- What is remembered of a channel between calls. If it is lost at any time, it is derived again.
local channels = {}
local channels_count = 0

-- Set by runs.lua and streams.lua.
local refuse_in_run, run_of, newest_of = nil, nil, nil
local set_expiry, is_fork_end = nil, nil

local fleets = nil
local lineage, inherits = nil, nil
-- When it is derived again, in milliseconds.
local lineage_due = 0

-- The lineage: six digits for this server and its promotion. And whether its data may be less than
-- another server had.
local function find_lineage()
  local info = redis.call('INFO', 'replication')
  local id = string.match(info, 'master_replid:(%x+)')
  local found = string.format('%06d', tonumber(string.sub(id, 1, 8), 16) % 1000000)
  if lineage and lineage ~= found then
    -- The server was a replica in between.
    channels, channels_count = {}, 0
  end
  lineage = found
  local was_replica = string.match(info, 'master_replid2:(%x+)') ~= string.rep('0', 40)
  local disk = redis.call('INFO', 'persistence')
  local loaded = tonumber(string.match(disk, 'rdb_last_load_keys_loaded:(%d+)') or '0') > 0
  local has_file = string.match(disk, 'aof_enabled:(%d)') == '1'
  inherits = was_replica or (loaded and not has_file)
end

-- The fleet with the key's prefix, and the channel's name.
local function fleet_of(key)
  fleets = fleets or cjson.decode(FLEETS)
  local found, length = nil, -1
  for prefix, fleet in pairs(fleets) do
    if #prefix > length and string.sub(key, 1, #prefix) == prefix then
      found, length = fleet, #prefix
    end
  end
  return found, string.sub(key, length + 1), string.sub(key, 1, length)
end

local function remember(key, channel)
  if not channels[key] then
    if channels_count >= CHANNELS_MAX then
      channels, channels_count = {}, 0
    end
    channels_count = channels_count + 1
  end
  channels[key] = channel
  return channel
end

-- The rule that keeps the channel's history, since when, the lease of its runs (0: it has none), and
-- whether it may be a stream; or nil. `of`: a fleet, or the rules that it had before.
local function kept_by(of, name)
  for i, rule in ipairs(of.rules) do
    if string.match(name, rule[1]) then
      if rule[2] > 0 then
        return rule, of.kept_since and of.kept_since[i] or 0, of.leases and of.leases[i] or 0,
          of.streams and of.streams[i] or false
      end
      return nil
    end
  end
end

-- Whether clients may subscribe to patterns of the channel. `of`: as above.
local function has_patterns(of, name)
  for i, rule in ipairs(of and of.patterns and of.rules or {}) do
    if string.match(name, rule[1]) then
      return of.patterns[i]
    end
  end
  return false
end

local function channel_of(key)
  local channel = channels[key]
  if channel and not (channel.holds_until and now_ms() >= channel.holds_until) then
    return channel
  end
  local fleet, name, prefix = fleet_of(key)
  if not fleet then
    return nil
  end
  channel = { publish = fleet.publish, window = fleet.window, marks = {}, touch_at = 0 }
  local rule, kept_since, lease, streams = kept_by(fleet, name)
  if fleet.before then
    local left = fleet.from - now_ms()
    if left > 0 and left <= SETTLE_MAX then
      local later_since = kept_since
      rule, kept_since, lease, streams = kept_by(fleet.before, name)
      channel.holds_until = fleet.from
      channel.changes = kept_since ~= later_since
    end
  end
  if rule then
    channel.kept_since = kept_since
    -- As text: a number would be formatted again for every command.
    channel.size, channel.age = whole(rule[2]), rule[3]
  end
  local tag = tag_of(key, fleet.publish == 'SPUBLISH')
  channel.ids = prefix .. 'id {' .. tag .. '} ' .. name .. ' '
  if rule and lease > 0 then
    channel.lease, channel.lease_key = lease, prefix .. 'lease {' .. tag .. '} ' .. name
    channel.stream_key = streams and prefix .. 'stream {' .. tag .. '} ' .. name or nil
  end
  -- Also while the rules before or after still apply elsewhere.
  if has_patterns(fleet, name) or has_patterns(fleet.before, name) then
    channel.name, channel.pattern_channel = name, prefix .. 'patterns {' .. shared_tag(tag) .. '}'
  end
  return remember(key, channel)
end

-- Publishes on the channel. A cluster has no patterns for sharded pub/sub, so nodes with patterns subscribe to one more
-- channel in each slot, which carries the channel's name too.
local function relay(key, channel, message)
  redis.call(channel.publish, key, message)
  if channel.pattern_channel then
    redis.call(channel.publish, channel.pattern_channel, channel.name .. '\n' .. message)
  end
end

local function unknown(key)
  return redis.error_reply('TIDEGATE no node has installed the rules for the prefix of ' .. key)
end

-- The last position of the stream, or nil.
local function last_of(key)
  local info = redis.pcall('XINFO', 'STREAM', key)
  if info.err then
    return nil
  end
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return info[i + 1]
    end
  end
end

-- When the epoch of a position began. nil: no function began it.
local function began_at(position)
  local epoch = string.match(position, '^%d+')
  return #epoch == 19 and tonumber(string.sub(epoch, 1, 13)) or nil
end

-- Whether the position is from before the channel's history was kept without interruption.
local function is_over(channel, position)
  local began = began_at(position)
  return began ~= nil and began <= channel.kept_since
end

-- An epoch of this server, later than `last` and than one that is over, whatever the clock is.
local function new_epoch(channel, last)
  local before = math.max(last and began_at(last) or 0, channel.kept_since)
  return whole(math.max(now_ms(), before + 1)) .. lineage
end

-- Finds or begins the epoch to append to; returns the next id, and the position that a new epoch
-- continues. An epoch begins with 1, so that there is a position before the first publication.
local function find_epoch(key, channel)
  find_lineage()
  local last = last_of(key)
  local epoch = last and string.match(last, '^%d+')
  local over = last and is_over(channel, last)
  if over then
    channel.rules_changed = true
    -- No client resumes from the one into the other, because publications between them are missing.
    redis.call('XTRIM', key, 'MAXLEN', 0)
  elseif epoch and #epoch == 19 and (not inherits or string.sub(epoch, -6) == lineage)
    and not (channel.stream_key and is_fork_end(key)) then
    channel.next = epoch .. '-*'
    return channel.next, nil
  end
  -- Later also than the epoch that was here before, whatever the clock is.
  epoch = new_epoch(channel, last or channel.next)
  channel.next = epoch .. '-*'
  return epoch .. '-1', not over and last or nil
end

-- Trims entries that are too old.
local function trim(key, channel, now)
  local marks = channel.marks
  while marks[1] and marks[1][1] <= now - channel.age do
    local epoch, seq = string.match(marks[1][2], '^(%d+)-(%d+)$')
    redis.call('XTRIM', key, 'MINID', epoch .. '-' .. whole(tonumber(seq) + 1))
    table.remove(marks, 1)
  end
end

-- Runs every eighth of the age: extends the stream's expiry, marks the time, and trims. `told` is
-- the caller's clock, which determines when it is due again; other callers may have other clocks.
local function touch(key, channel, told, position)
  local now = now_ms()
  channel.touch_at = told + channel.age / 8
  redis.call('PEXPIRE', key, whole(channel.age + channel.age / 8))
  if channel.stream_key then
    set_expiry(key, channel)
  end
  channel.marks[#channel.marks + 1] = { now, position }
  trim(key, channel, now)
end

-- Adds to the header, once, that it begins an epoch because the rules changed.
local function with_rules_changed(channel, header)
  channel.rules_changed = nil
  return string.sub(header, 1, -2) .. ',"rules_changed":true}'
end

-- header: a JSON object with at least one field, without line breaks. id_key: the key of the
-- idempotency key, or nil. now: the caller's clock, in milliseconds.
local function store(key, channel, payload, header, id_key, now)
  if channel.rules_changed then
    header = with_rules_changed(channel, header)
  end
  local position = channel.next and redis.pcall('XADD', key, 'NOMKSTREAM',
    'MAXLEN', '~', channel.size, channel.next, 'h', header, 'p', payload)
  if not position or type(position) == 'table' then
    -- The stream is gone, or another server has appended to it meanwhile.
    local next, previous = find_epoch(key, channel)
    remember(key, channel)
    if channel.rules_changed then
      header = with_rules_changed(channel, header)
    end
    if previous then
      header = string.sub(header, 1, -2) .. ',"prev":"' .. previous .. '"}'
    end
    position = redis.call('XADD', key, 'MAXLEN', '~', channel.size, next, 'h', header, 'p', payload)
    channel.touch_at, channel.marks = 0, {}
  end
  if now >= channel.touch_at or channel.touch_at - now > channel.age / 8 then
    touch(key, channel, now, position)
  end
  if id_key then
    redis.call('SET', id_key, position, 'PX', channel.window)
  end
  -- One expression, because every intermediate text costs as much as a command.
  relay(key, channel,
    '\30' .. string.sub(header, 1, -2) .. ',"pos":"' .. position .. '"' .. LINE_END .. payload)
  return position
end

-- The same where the channel keeps history and its run has not ended. id: '' or the idempotency key.
local function append(key, channel, payload, header, id, now)
  if not channel.size then
    relay(key, channel, '\30' .. string.sub(header, 1, -2) .. LINE_END .. payload)
    return false
  end
  local id_key = id ~= '' and channel.ids .. publisher_of(header) .. id or nil
  local before = id_key and redis.call('GET', id_key)
  if before then
    return before
  end
  local refusal = channel.lease and refuse_in_run(key, channel, now)
  if refusal then
    return refusal
  end
  return store(key, channel, payload, header, id_key, now)
end

-- UTF-8 sequences of more than one byte.
local UTF8_SEQUENCES = {
  '[\194-\223][\128-\191]',
  '\224[\160-\191][\128-\191]',
  '[\225-\236\238\239][\128-\191][\128-\191]',
  '\237[\128-\159][\128-\191]',
  '\240[\144-\191][\128-\191][\128-\191]',
  '[\241-\243][\128-\191][\128-\191][\128-\191]',
  '\244[\128-\143][\128-\191][\128-\191]',
}

-- JSON is UTF-8, and nodes read no other encoding. cjson accepts any bytes.
local function is_utf8(text)
  for _, sequence in ipairs(UTF8_SEQUENCES) do
    if not string.find(text, '[\128-\255]') then
      return true
    end
    text = string.gsub(text, sequence, ' ')
  end
  return not string.find(text, '[\128-\255]')
end

-- A service's header, written again from the fields that are used, so that nodes can read it.
-- Returns also the id; or nil and the fault.
local function checked(header, now)
  local ok, fields = pcall(cjson.decode, header)
  if not ok or type(fields) ~= 'table' or not string.match(header, '^%s*{.*}%s*$') then
    return nil, 'the header must be a JSON object'
  end
  for _, name in ipairs({ 'pos', 'prev', 'rules_changed', 'ended' }) do
    if fields[name] ~= nil then
      return nil, 'the header must not have pos, prev, rules_changed or ended: they are for Redis to say'
    end
  end
  local written = {}
  for name, kind in pairs(FIELDS) do
    local field = fields[name]
    if field ~= nil and field ~= cjson.null then
      if type(field) ~= kind then
        return nil, name .. ' in the header must be a ' .. kind
      end
      if kind == 'number' and not (field >= 0 and field % 1 == 0 and field < 1e16) then
        return nil, name .. ' in the header must be whole microseconds since 1970'
      end
      if kind == 'string' and not is_utf8(field) then
        return nil, name .. ' in the header must be UTF-8'
      end
      -- Adds 0, because nodes do not accept -0 as a number.
      local text = kind == 'number' and whole(field + 0) or cjson.encode(field)
      written[#written + 1] = '"' .. name .. '":' .. text
    end
  end
  if type(fields.ts) ~= 'number' then
    written[#written + 1] = '"ts":' .. whole(now * 1000)
  end
  local id = type(fields.id) == 'string' and fields.id or ''
  if #id > 255 then
    return nil, 'id in the header must have at most 255 bytes'
  end
  local text = '{' .. table.concat(written, ',') .. '}'
  if #text > 3500 then
    return nil, 'the header must have at most 3500 bytes'
  end
  return text, id
end

-- FCALL tidegate_publish 1 <key> <payload> [<header>]
-- For every service. The header is a JSON object with the fields of a header line. Returns the
-- position, or nil where the channel keeps no history.
local function publish(keys, args)
  local key, payload, header = keys[1], args[1], args[2] or ''
  if #keys ~= 1 or not payload or #args > 2 then
    return redis.error_reply('ERR usage: FCALL tidegate_publish 1 <key> <payload> [<header>]')
  end
  local channel = channel_of(key)
  if not channel then
    return unknown(key)
  end
  -- A payload without a header must not be read as one.
  if header == '' and not channel.size and string.byte(payload) ~= 30 then
    relay(key, channel, payload)
    return false
  end
  local now = now_ms()
  local text, id = checked(header == '' and '{}' or header, now)
  if not text then
    return redis.error_reply('ERR ' .. id)
  end
  return append(key, channel, payload, text, id, now)
end

-- FCALL tidegate_append 1 <key> <payload> <header> <id or ''> <now in ms>
-- For nodes, whose headers are valid.
local function append_of_node(keys, args)
  local channel = channel_of(keys[1])
  if not channel then
    return unknown(keys[1])
  end
  return append(keys[1], channel, args[1], args[2], args[3], tonumber(args[4]) or now_ms())
end

-- FCALL tidegate_position 1 <key> ['ended']
-- The last position of the history; begins a history where there is none. nil where the channel
-- keeps none. Ends a run whose lease is over. With 'ended', for nodes that know runs: where the
-- newest entry is the end of a run, the position and the reason.
local function position(keys, args)
  local key = keys[1]
  local channel = channel_of(key)
  if not channel then
    return unknown(key)
  end
  if channel.changes then
    return redis.error_reply('TURNING other rules for the history are about to hold')
  end
  if not channel.size then
    return false
  end
  local now = now_ms()
  if now >= lineage_due then
    lineage_due = now + 1000
    find_lineage()
    channel = channel_of(key)
  end
  if channel.lease then
    local state, at, reason = run_of(key, channel, now)
    if state == 'ended' then
      return args[1] == 'ended' and { at, reason } or at
    end
  end
  local last = last_of(key)
  if last and not is_over(channel, last) then
    trim(key, channel, now)
    return last
  end
  find_epoch(key, channel)
  remember(key, channel)
  last = string.gsub(channel.next, '%*$', '0')
  redis.call('XADD', key, last, 'h', '{}', 'p', '')
  redis.call('XDEL', key, last)
  channel.marks = {}
  touch(key, channel, now, last)
  return last
end

-- FCALL tidegate_last 1 <key> ['ended']
-- The same for a server that takes no writes now: it begins no history, so where there is none it
-- returns the position before all others.
local function last(keys, args)
  local channel = channel_of(keys[1])
  if not channel then
    return unknown(keys[1])
  end
  if not channel.size then
    return false
  end
  if channel.lease and args[1] == 'ended' then
    local at, reason = newest_of(keys[1], channel)
    if reason then
      return { at, reason }
    end
  end
  local found = last_of(keys[1])
  return found and not is_over(channel, found) and found or '0-0'
end

redis.register_function('tidegate_publish', publish)
redis.register_function('tidegate_append', append_of_node)
redis.register_function('tidegate_position', position)
redis.register_function({
  function_name = 'tidegate_last',
  callback = last,
  flags = {'no-writes'},
})
