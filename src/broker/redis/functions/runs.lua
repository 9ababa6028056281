-- Runs: channels whose stream has an end.
--
-- The end is an entry of the stream, with the reason as "ended" in its header and an empty payload.
-- Whether a run has ended is read from the newest entry each time: a remembered answer would be wrong
-- after the slot was elsewhere.
--
-- A run lives as long as its lease, a key of its own that appending and renewing sets. A run with a
-- publication and without a lease is over: whichever function finds that first appends the end, so
-- no node need be alive when the lease ends.

local ABANDONED = 'abandoned'

local function no_run(why)
  return redis.error_reply('NORUN no run: ' .. why)
end

local function has_ended(reason)
  return redis.error_reply('ENDED the run has ended: ' .. reason)
end

-- The position of the newest entry, and the reason if it is an end. nil: there is none.
newest_of = function(key, channel)
  local entry = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  if not entry or is_over(channel, entry[1]) then
    return nil
  end
  local header, payload = entry[2][2], entry[2][4]
  if payload == '' and string.find(header, '"ended":', 1, true) then
    return entry[1], cjson.decode(header).ended
  end
  return entry[1]
end

-- Whether this server takes over a slot at the moment: what it lacks may still be at the other one.
local function is_importing(channel)
  if channel.publish ~= 'SPUBLISH' then
    return false
  end
  local nodes = redis.pcall('CLUSTER', 'NODES')
  local own = type(nodes) == 'string' and string.match(nodes, '[^\n]*myself[^\n]*') or ''
  return string.find(own, '-<-', 1, true) ~= nil
end

-- Sets the lease, an eighth longer than the rule says, because it is not set again within an eighth.
local function set_lease(channel)
  redis.call('SET', channel.lease_key, '1', 'PX', whole(channel.lease * 9 / 8))
end

-- How long the lease lasts, in milliseconds. 0: there is none.
local function lease_left(channel)
  local left = redis.call('PTTL', channel.lease_key)
  return left == -2 and 0 or math.abs(left)
end

-- Appends the end and publishes it. Returns its position.
local function append_end(key, channel, reason, now)
  local header = '{"ts":' .. whole(now * 1000) .. ',"ended":' .. cjson.encode(reason) .. '}'
  return store(key, channel, '', header, nil, now)
end

-- 'none', 'open' or 'ended'; the position of the newest entry; the reason of the end or how long the
-- lease lasts. Ends a run whose lease is over. Reads all keys before it writes any: where one is at
-- the server that the slot moves to, reading fails.
run_of = function(key, channel, now)
  local position, reason = newest_of(key, channel)
  if reason then
    return 'ended', position, reason
  end
  local left = lease_left(channel)
  if left > 0 then
    return 'open', position, left
  end
  if channel.stream_key and redis.call('EXISTS', channel.stream_key) == 1 then
    -- A client has created it, and it lives for as long as that client said.
    return 'open', position, channel.lease * 9 / 8
  end
  if not position then
    return 'none'
  end
  if is_importing(channel) then
    -- It is not set here, because the other server could not move its own then.
    return 'open', position, channel.lease * 9 / 8
  end
  return 'ended', append_end(key, channel, ABANDONED, now), ABANDONED
end

-- The error where the run has ended; nil where it goes on, with its lease set.
refuse_in_run = function(key, channel, now)
  local state, _, detail = run_of(key, channel, now)
  if state == 'ended' then
    return has_ended(detail)
  elseif state == 'none' or detail <= channel.lease then
    set_lease(channel)
  end
  if channel.stream_key then
    set_expiry(key, channel)
  end
end

-- The channel of a call about its run, or nil and the error.
local function run_channel(key)
  local channel = channel_of(key)
  if not channel then
    return nil, unknown(key)
  end
  if not channel.lease then
    return nil, no_run('the rule of this channel has no run')
  end
  return channel
end

local function is_reason(text)
  local has_control = string.find(text, '%c') or string.find(text, '\194[\128-\159]')
  return #text >= 1 and #text <= 255 and is_utf8(text) and not has_control
end

-- FCALL tidegate_end 1 <key> <reason> [<last payload>] [<header>]
-- Ends the run, after a last publication if the payload is not empty, and publishes both. The header
-- is that of the last publication. Returns the position of the end.
local function end_run(keys, args)
  local key, reason, payload, header = keys[1], args[1], args[2] or '', args[3] or ''
  if #keys ~= 1 or not reason or #args > 3 then
    return redis.error_reply('ERR usage: FCALL tidegate_end 1 <key> <reason> [<last payload>] [<header>]')
  end
  if not is_reason(reason) then
    return redis.error_reply('ERR a reason is 1 to 255 bytes of UTF-8 without control characters')
  end
  local channel, fault = run_channel(key)
  if not channel then
    return fault
  end
  local now = now_ms()
  local text, id = checked(header == '' and '{}' or header, now)
  if not text then
    return redis.error_reply('ERR ' .. id)
  end
  local state, _, detail = run_of(key, channel, now)
  if state == 'ended' then
    return has_ended(detail)
  elseif state == 'none' then
    return no_run('nothing was published on this channel')
  end
  if payload ~= '' then
    append(key, channel, payload, text, id, now)
  end
  return append_end(key, channel, reason, now)
end

-- FCALL tidegate_renew 1 <key>
-- Renews the lease of a run whose worker has nothing to publish now. Returns for how many
-- milliseconds it lasts.
local function renew(keys, args)
  if #keys ~= 1 or #args > 0 then
    return redis.error_reply('ERR usage: FCALL tidegate_renew 1 <key>')
  end
  local channel, fault = run_channel(keys[1])
  if not channel then
    return fault
  end
  local state, _, detail = run_of(keys[1], channel, now_ms())
  if state == 'ended' then
    return has_ended(detail)
  elseif state == 'none' then
    return no_run('nothing was published on this channel')
  end
  if detail > channel.lease then
    return detail
  end
  set_lease(channel)
  -- A worker that thinks for longer than the history's age keeps its run.
  redis.call('PEXPIRE', keys[1], whole(channel.age + channel.age / 8))
  return math.floor(channel.lease * 9 / 8)
end

-- FCALL tidegate_run_check 1 <key>
-- For nodes with subscribers of the run. Returns for how many milliseconds its lease lasts; where it
-- has ended, the position of the end and the reason; nil where there is no run.
local function check_run(keys)
  local channel = channel_of(keys[1])
  if not channel then
    return unknown(keys[1])
  end
  if not channel.lease then
    return false
  end
  local state, position, detail = run_of(keys[1], channel, now_ms())
  if state == 'ended' then
    return { position, detail }
  end
  return state == 'open' and detail or false
end

redis.register_function('tidegate_end', end_run)
redis.register_function('tidegate_renew', renew)
redis.register_function('tidegate_run_check', check_run)
