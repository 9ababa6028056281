-- Appending to a channel's history and publishing, as one step.
--
-- A channel's history is the stream of its own name. Its entries are <epoch>-<seq>, with the fields
-- h (the header, a JSON object) and p (the payload). An epoch is nineteen digits: the milliseconds at
-- which it began, and six digits of the server's replication id. A server that was promoted, or has
-- loaded a snapshot, never goes on in an epoch of another: that one may have led it further, and one
-- position would be two publications. It begins its own, and the first entry says in "prev" where it
-- goes on from. A server that was given the slot, or has read its append-only file, has all there
-- was and goes on. An epoch that began before its rule kept history is over, as if the stream were gone:
-- what was published in between stands nowhere.
--
-- Other rules hold from a time of this server's clock on, a moment after they were installed, so that all
-- nodes hear of them before: a node that does not know them yet would publish past the history. An epoch
-- that begins because the one before is over says so in its first entry: "rules_changed".
--
-- Age goes by this server's clock. Every eighth of it, the newest position is marked with the time;
-- what stands before a mark that is too old is trimmed.

-- Channels that are remembered at most, so that a flood of names does not stay in memory.
local CHANNELS_MAX = 20000

-- The fields of a header that mean something, and their types.
local FIELDS = { id = 'string', ts = 'number', node = 'string', session = 'string',
  user = 'string', traceparent = 'string', binary = 'boolean' }

-- What ends a header line. It carries the server's secret, by which nodes know that a function or a node
-- wrote the line, and not somebody whose text a service relays.
local LINE_END = ',"key":"' .. SECRET .. '"}\n'

-- How far away, in milliseconds, the time may be from which rules hold. What is further was said by the
-- clock of another server.
local SETTLE_MAX = 2000

-- What is remembered of a channel between calls. Lost at any time, it is found out again.
local channels = {}
local channels_count = 0

local fleets = nil
local lineage, inherits = nil, nil
-- When it is looked for again, in milliseconds.
local lineage_due = 0

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Of this server and its promotion: six digits. And whether its data may be less than another had.
local function find_lineage()
  local info = redis.call('INFO', 'replication')
  local id = string.match(info, 'master_replid:(%x+)')
  local found = string.format('%06d', tonumber(string.sub(id, 1, 8), 16) % 1000000)
  if lineage and lineage ~= found then
    -- It was a replica in between.
    channels, channels_count = {}, 0
  end
  lineage = found
  local was_replica = string.match(info, 'master_replid2:(%x+)') ~= string.rep('0', 40)
  local disk = redis.call('INFO', 'persistence')
  local loaded = tonumber(string.match(disk, 'rdb_last_load_keys_loaded:(%d+)') or '0') > 0
  local has_file = string.match(disk, 'aof_enabled:(%d)') == '1'
  inherits = was_replica or (loaded and not has_file)
end

-- The fleet whose prefix the key has, and its channel's name.
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

-- The rule that keeps the channel's history, and since when it has; or nil. `of`: a fleet, or the rules
-- that it had before.
local function kept_by(of, name)
  for i, rule in ipairs(of.rules) do
    if string.match(name, rule[1]) then
      if rule[2] > 0 then
        return rule, of.kept_since and of.kept_since[i] or 0
      end
      return nil
    end
  end
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
  local rule, kept_since = kept_by(fleet, name)
  if fleet.before then
    local left = fleet.from - now_ms()
    if left > 0 and left <= SETTLE_MAX then
      local later_since = kept_since
      rule, kept_since = kept_by(fleet.before, name)
      channel.holds_until = fleet.from
      channel.changes = kept_since ~= later_since
    end
  end
  if rule then
    channel.kept_since = kept_since
    -- As text: a number is written out anew for every command.
    channel.size, channel.age = string.format('%.0f', rule[2]), rule[3]
  end
  channel.ids = prefix .. 'id {' .. tag_of(key, fleet.publish == 'SPUBLISH') .. '} ' .. name .. ' '
  return remember(key, channel)
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

-- Is it of a time before the channel's history was kept without interruption?
local function is_over(channel, position)
  local began = began_at(position)
  return began ~= nil and began <= channel.kept_since
end

-- An epoch of this server, later than `last` and than what is over, whatever the clock says.
local function new_epoch(channel, last)
  local before = math.max(last and began_at(last) or 0, channel.kept_since)
  return string.format('%.0f', math.max(now_ms(), before + 1)) .. lineage
end

-- Finds or begins the epoch to append to; answers the next id, and what a new epoch goes on from. An
-- epoch begins with 1, so that there is a position before the first publication.
local function find_epoch(key, channel)
  find_lineage()
  local last = last_of(key)
  local epoch = last and string.match(last, '^%d+')
  local over = last and is_over(channel, last)
  if over then
    channel.rules_changed = true
    -- Nobody reads from the one into the other: there is something missing between them.
    redis.call('XTRIM', key, 'MAXLEN', 0)
  elseif epoch and #epoch == 19 and (not inherits or string.sub(epoch, -6) == lineage) then
    channel.next = epoch .. '-*'
    return channel.next, nil
  end
  -- Later also than the one that was here before, whatever the clock says.
  epoch = new_epoch(channel, last or channel.next)
  channel.next = epoch .. '-*'
  return epoch .. '-1', not over and last or nil
end

-- Trims what is too old.
local function trim(key, channel, now)
  local marks = channel.marks
  while marks[1] and marks[1][1] <= now - channel.age do
    local epoch, seq = string.match(marks[1][2], '^(%d+)-(%d+)$')
    redis.call('XTRIM', key, 'MINID', epoch .. '-' .. string.format('%.0f', tonumber(seq) + 1))
    table.remove(marks, 1)
  end
end

-- Now and then: puts off the end of the stream, marks the time, and trims. `told` is the caller's
-- clock, which says when it is due again; others may have another.
local function touch(key, channel, told, position)
  local now = now_ms()
  channel.touch_at = told + channel.age / 8
  redis.call('PEXPIRE', key, string.format('%.0f', channel.age + channel.age / 8))
  channel.marks[#channel.marks + 1] = { now, position }
  trim(key, channel, now)
end

-- Says in the header that it begins an epoch because other rules hold, once.
local function with_rules_changed(channel, header)
  channel.rules_changed = nil
  return string.sub(header, 1, -2) .. ',"rules_changed":true}'
end

-- header: a JSON object of at least one field, without line breaks. id: '' or the idempotency key. now:
-- the caller's clock, in milliseconds.
local function append(key, channel, payload, header, id, now)
  if not channel.size then
    redis.call(channel.publish, key, '\30' .. string.sub(header, 1, -2) .. LINE_END .. payload)
    return false
  end
  local id_key = id ~= '' and channel.ids .. publisher_of(header) .. id
  local before = id_key and redis.call('GET', id_key)
  if before then
    return before
  end
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
  -- In one piece: every text that is made on the way costs as much as a command does.
  redis.call(channel.publish, key,
    '\30' .. string.sub(header, 1, -2) .. ',"pos":"' .. position .. '"' .. LINE_END .. payload)
  return position
end

-- Sequences of more than one byte, as UTF-8 has them.
local UTF8_SEQUENCES = {
  '[\194-\223][\128-\191]',
  '\224[\160-\191][\128-\191]',
  '[\225-\236\238\239][\128-\191][\128-\191]',
  '\237[\128-\159][\128-\191]',
  '\240[\144-\191][\128-\191][\128-\191]',
  '[\241-\243][\128-\191][\128-\191][\128-\191]',
  '\244[\128-\143][\128-\191][\128-\191]',
}

-- JSON is UTF-8, and nodes read no other. cjson takes any bytes.
local function is_utf8(text)
  for _, sequence in ipairs(UTF8_SEQUENCES) do
    if not string.find(text, '[\128-\255]') then
      return true
    end
    text = string.gsub(text, sequence, ' ')
  end
  return not string.find(text, '[\128-\255]')
end

-- The header of a service, written anew of the fields that mean something: nodes must be able to read
-- it. Answers also the id; or nil and what is wrong.
local function checked(header, now)
  local ok, fields = pcall(cjson.decode, header)
  if not ok or type(fields) ~= 'table' or not string.match(header, '^%s*{.*}%s*$') then
    return nil, 'the header must be a JSON object'
  end
  if fields.pos ~= nil or fields.prev ~= nil or fields.rules_changed ~= nil then
    return nil, 'the header must not have pos, prev or rules_changed: they are for Redis to say'
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
      -- With 0 added, as -0 is none of the numbers that nodes read.
      local text = kind == 'number' and string.format('%.0f', field + 0) or cjson.encode(field)
      written[#written + 1] = '"' .. name .. '":' .. text
    end
  end
  if type(fields.ts) ~= 'number' then
    written[#written + 1] = '"ts":' .. string.format('%.0f', now * 1000)
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
-- For every service. The header is a JSON object with the fields of a header line. Answers the
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
  -- What is no header must not be taken for one.
  if header == '' and not channel.size and string.byte(payload) ~= 30 then
    redis.call(channel.publish, key, payload)
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
-- For nodes, which know their headers to be right.
local function append_of_node(keys, args)
  local channel = channel_of(keys[1])
  if not channel then
    return unknown(keys[1])
  end
  return append(keys[1], channel, args[1], args[2], args[3], tonumber(args[4]) or now_ms())
end

-- FCALL tidegate_position 1 <key>
-- Where the history ends; it is begun where there is none. nil where the channel keeps none.
local function position(keys)
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

-- FCALL tidegate_last 1 <key>
-- The same for a server that takes no writes now: nothing is begun, so where there is no history it ends
-- before everything.
local function last(keys)
  local channel = channel_of(keys[1])
  if not channel then
    return unknown(keys[1])
  end
  if not channel.size then
    return false
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
