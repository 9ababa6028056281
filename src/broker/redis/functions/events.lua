-- Events for the backend: which channels have subscribers, who is in them and who is connected, over all nodes.
-- Each change of that becomes an entry of a stream, in the step that makes the change. So `occupied` and `vacated`
-- of a channel alternate, whatever the nodes do and however often they repeat a call.
--
-- KEYS, all in the slot of the first, which is their hash tag:
--   1 the stream
--   2 nodes: a hash, node -> moment in milliseconds of Redis' clock until which it counts as alive
--   3 counts: a hash, item -> how many nodes hold it
--   4 what one node holds: a hash, item or session -> value; and `#` -> the number of its last call of
--     tidegate_events_write. Without `#` the node has to write all that it holds again.
-- Keys 2 to 4 may be omitted: a master that imports the slot takes several keys only if it has all of them.
--
-- An item is `c<channel>`, a channel with subscribers, or `m<channel> <user>`, a member; its value is
-- `<generation> <edges> <info>`. A session is `s<session>`, its value `<generation> <user>`. A user is `=name`, and
-- `-` for none. Edges: which events the item causes: 1 the first, 2 the last, 3 both. When a node writes all that it
-- holds again, it does so in a later generation, and then removes what is still of an earlier one.
do
  -- How long a node counts as alive after a renewal, in ttls. It renews every quarter ttl, so one renewal may be
  -- lost, and the next node's renewal finds it dead within the ttl.
  local ALIVE = 0.6
  -- How long the keys outlive the last renewal, in milliseconds. Longer than any outage of all nodes, because the
  -- next node that starts has to tell that the channels are vacated.
  local KEPT = '604800000'
  -- Maximum number of dead nodes in one answer.
  local DEAD_MAX = 16

  local FIRST = { c = 'occupied', m = 'join' }
  local LAST = { c = 'vacated', m = 'leave' }

  -- The four keys of a call for what `node` holds.
  local function keys_of(keys, node)
    local stream = keys[1]
    local tag = string.match(stream, '{([^}]+)}') or stream
    local base = stream .. ' {' .. tag .. '} '
    return { stream = stream, nodes = keys[2] or base .. 'nodes', counts = keys[3] or base .. 'counts',
      held = keys[4] or base .. 'node ' .. node }
  end

  local function keep(to)
    redis.call('PEXPIRE', to.nodes, KEPT)
    redis.call('PEXPIRE', to.counts, KEPT)
    redis.call('PEXPIRE', to.held, KEPT)
  end

  -- Appends an entry. fields: name, value, name, value …
  local function add(to, id, kind, fields)
    redis.call('XADD', to.stream, 'MAXLEN', '~', to.size, '*', 'id', id, 'type', kind, 'node', to.node,
      'time', to.time, unpack(fields))
  end

  local function add_user(fields, user)
    if user ~= '-' then
      fields[#fields + 1] = 'user'
      fields[#fields + 1] = string.sub(user, 2)
    end
    return fields
  end

  -- Appends the event of an item.
  local function add_item(to, id, kinds, item, info)
    local letter, channel, user = string.match(item, '^(.)([^ ]*) ?(.*)$')
    local fields = { 'channel', channel }
    if letter == 'm' then
      add_user(fields, user)
    end
    if info and info ~= '' then
      fields[#fields + 1] = 'info'
      fields[#fields + 1] = info
    end
    add(to, id, kinds[letter], fields)
  end

  local function hold(to, id, item, edges, info)
    local is_new = redis.call('HSET', to.held, item, to.generation .. ' ' .. edges .. ' ' .. info) == 1
    if is_new and redis.call('HINCRBY', to.counts, item, 1) == 1 and edges ~= '2' then
      add_item(to, id, FIRST, item, info)
    end
  end

  local function free(to, id, item, edges)
    if redis.call('HDEL', to.held, item) == 1 and redis.call('HINCRBY', to.counts, item, -1) <= 0 then
      redis.call('HDEL', to.counts, item)
      if edges ~= '1' then
        add_item(to, id, LAST, item)
      end
    end
  end

  local function connect(to, id, session, user)
    local value = redis.call('HGET', to.held, 's' .. session)
    redis.call('HSET', to.held, 's' .. session, to.generation .. ' ' .. user)
    if not value or string.match(value, '^%d+ (.*)$') ~= user then
      add(to, id, 'connected', add_user({ 'session', session }, user))
    end
  end

  local function disconnect(to, id, session, reason)
    local value = redis.call('HGET', to.held, 's' .. session)
    if value then
      redis.call('HDEL', to.held, 's' .. session)
      local fields = { 'session', session, 'reason', reason }
      add(to, id, 'disconnected', add_user(fields, string.match(value, '^%d+ (.*)$')))
    end
  end

  -- Removes what a node holds without being asked to by that node.
  local function lose(to, field, value, reason)
    local generation, rest = string.match(value, '^(%d+) (.*)$')
    -- The same each time that this is removed, should a failover lose the removal.
    local id = to.node .. '-' .. generation .. '-' .. string.sub(redis.sha1hex(field), 1, 16)
    if string.sub(field, 1, 1) == 's' then
      disconnect(to, id, string.sub(field, 2), reason)
    else
      free(to, id, field, string.sub(rest, 1, 1))
    end
  end

  -- ARGV: node, ttl in ms, size of the stream, generation, number of this call, 1 where the generation begins, then
  -- the changes:
  --   + item edges info: holds it     - item edges: holds it no more
  --   o session user: is connected    x session reason: has ended
  --   e n and n fields: an event with these fields, the first is its type
  -- Returns 1 where that is done; a call with the number of the last one does nothing more. Returns 0 and does nothing
  -- where the call before this one is unknown: the node has to begin a generation and write all that it holds.
  local function write(keys, args)
    local to = keys_of(keys, args[1])
    local number, begins = args[5], args[6] == '1'
    to.node, to.size, to.generation = args[1], args[3], args[4]
    local before = redis.call('HGET', to.held, '#')
    if before == number then
      return 1
    end
    if not begins and tonumber(before or '-1') + 1 ~= tonumber(number) then
      return 0
    end
    local now = now_ms()
    to.time = whole(now)
    redis.call('HSET', to.held, '#', number)
    if begins then
      redis.call('HSET', to.nodes, to.node, whole(now + ALIVE * tonumber(args[2])))
    end
    local at, change = 7, 0
    while args[at] do
      local kind = args[at]
      change = change + 1
      local id = to.node .. '-' .. number .. '-' .. change
      if kind == '+' then
        hold(to, id, args[at + 1], args[at + 2], args[at + 3])
        at = at + 4
      elseif kind == '-' then
        free(to, id, args[at + 1], args[at + 2])
        at = at + 3
      elseif kind == 'o' then
        connect(to, id, args[at + 1], args[at + 2])
        at = at + 3
      elseif kind == 'x' then
        disconnect(to, id, args[at + 1], args[at + 2])
        at = at + 3
      else
        local count = tonumber(args[at + 1])
        local fields = {}
        for field = at + 3, at + 1 + count do
          fields[#fields + 1] = args[field]
        end
        add(to, id, args[at + 2], fields)
        at = at + 2 + count
      end
    end
    if begins then
      keep(to)
    end
    return 1
  end

  -- ARGV: node, ttl in ms.
  -- Returns the number of the node's last call, '' if none, and nodes that are dead: call tidegate_events_remove.
  local function renew(keys, args)
    local to = keys_of(keys, args[1])
    local number = redis.call('HGET', to.held, '#')
    if not number then
      return { '', {} }
    end
    local now = now_ms()
    local alive_until = tonumber(redis.call('HGET', to.nodes, args[1]) or '0')
    redis.call('HSET', to.nodes, args[1], whole(now + ALIVE * tonumber(args[2])))
    keep(to)
    local dead = {}
    -- A node that is late itself cannot tell which nodes are dead: Redis may have been unreachable for all of them.
    if alive_until >= now then
      local nodes = redis.call('HGETALL', to.nodes)
      for at = 1, #nodes, 2 do
        if tonumber(nodes[at + 1]) < now and #dead < DEAD_MAX then
          dead[#dead + 1] = nodes[at]
        end
      end
    end
    return { number, dead }
  end

  -- ARGV: a dead node, size of the stream, maximum number of items to remove.
  -- Returns 1 where items remain: call again.
  local function remove(keys, args)
    local to = keys_of(keys, args[1])
    to.node, to.size = args[1], args[2]
    local now = now_ms()
    to.time = whole(now)
    local alive_until = tonumber(redis.call('HGET', to.nodes, to.node) or '')
    if not alive_until or alive_until >= now then
      return 0
    end
    -- From here on it is removed, even if that takes several calls: it must write all that it holds again.
    redis.call('HDEL', to.held, '#')
    local some = {}
    if redis.call('EXISTS', to.held) == 1 then
      some = redis.call('HRANDFIELD', to.held, args[3], 'WITHVALUES')
    end
    for at = 1, #some, 2 do
      lose(to, some[at], some[at + 1], 'node_lost')
    end
    if redis.call('EXISTS', to.held) == 1 then
      return 1
    end
    redis.call('HDEL', to.nodes, to.node)
    return 0
  end

  -- ARGV: node, size of the stream, generation, cursor, how many items to look at.
  -- Removes what the node holds of earlier generations. Returns the next cursor, '0' at the end.
  local function sweep(keys, args)
    local to = keys_of(keys, args[1])
    to.node, to.size, to.time = args[1], args[2], whole(now_ms())
    local page = redis.call('HSCAN', to.held, args[4], 'COUNT', args[5])
    local fields = page[2]
    for at = 1, #fields, 2 do
      local generation = string.match(fields[at + 1], '^(%d+) ')
      if generation and generation ~= args[3] then
        lose(to, fields[at], fields[at + 1], 'unknown')
      end
    end
    return page[1]
  end

  -- ARGV: node, grace in ms.
  -- The node stops. If other nodes are alive, they remove after the grace what it still holds, because its clients
  -- may come to them. Returns 1 then; otherwise 0: call tidegate_events_remove for itself.
  local function leave(keys, args)
    local to = keys_of(keys, args[1])
    local now = now_ms()
    local others = 0
    local nodes = redis.call('HGETALL', to.nodes)
    for at = 1, #nodes, 2 do
      if nodes[at] ~= args[1] and tonumber(nodes[at + 1]) >= now then
        others = 1
      end
    end
    if redis.call('HEXISTS', to.nodes, args[1]) == 1 then
      redis.call('HSET', to.nodes, args[1], whole(others == 1 and now + tonumber(args[2]) or now - 1))
    end
    return others
  end

  redis.register_function('tidegate_events_write', write)
  redis.register_function('tidegate_events_remove', remove)
  redis.register_function('tidegate_events_sweep', sweep)
  -- Run also on a server without memory: they keep nodes alive, which takes no more memory.
  redis.register_function({ function_name = 'tidegate_events_renew', callback = renew, flags = { 'allow-oom' } })
  redis.register_function({ function_name = 'tidegate_events_leave', callback = leave, flags = { 'allow-oom' } })
end
