-- The members of a channel, over all nodes.
--
-- KEYS[1], the channel's: a hash of its nodes, node -> moment in milliseconds of Redis' clock until
-- which it counts as alive; negative: when its members were removed. Joins and leaves are published
-- to the Redis channel of the same name.
-- KEYS[2], `KEYS[1] .. ' ' .. node`: a hash of the node's members, user -> sessions, where a user
-- is written `=name` and no user `-`. The value is `2`, or `2 <milliseconds> {…}` with what a token
-- says of the user and when it was issued. Nodes before version 7 of the library write and read
-- numbers only: their functions are `update` and `members`. Other nodes' hashes have names of the same form; all have one
-- hash tag, so they are in one slot. KEYS[2] may be omitted: a master that imports the slot takes
-- several keys only if it has all of them.
--
-- Joins and leaves count every node that has not been removed, alive or not: a user of a crashed
-- node has not left yet, and so does not join again at another node.
do
  -- How long a node counts as alive after a renewal, in ttls. It renews every quarter ttl, so one
  -- renewal may be lost, and the next node's renewal finds it dead within the ttl.
  local ALIVE = 0.6
  -- How long keys outlive the last renewal of any node, in ttls.
  local KEPT = 2
  -- How long the removal of a node is remembered, in ttls.
  local REMOVED_KEPT = 10
  -- Maximum number of members of dead nodes removed in one call, so that one call does not keep
  -- Redis busy for long.
  local REMOVALS_MAX = 1000

  local function members_key(channel, node)
    return channel .. ' ' .. node
  end

  local function nodes_of(channel)
    local flat = redis.call('HGETALL', channel)
    local nodes = {}
    for at = 1, #flat, 2 do
      nodes[flat[at]] = tonumber(flat[at + 1]) or 0
    end
    return nodes
  end

  local function standing_of(moment, count)
    if moment and moment < 0 then
      return 'removed'
    elseif moment and count > 0 then
      return 'known'
    end
    return 'forgotten'
  end

  local function renew(channel, own, node, ttl, now)
    redis.call('HSET', channel, node, whole(now + ALIVE * ttl))
    redis.call('PEXPIRE', channel, whole(KEPT * ttl))
    redis.call('PEXPIRE', own, whole(KEPT * ttl))
  end

  -- Those of the users that have no session on any node but this one.
  local function nowhere_else(channel, nodes, node, users)
    for other, moment in pairs(nodes) do
      if #users > 0 and other ~= node and moment >= 0 then
        local there = redis.call('HMGET', members_key(channel, other), unpack(users))
        local left = {}
        for at, user in ipairs(users) do
          if not there[at] then
            left[#left + 1] = user
          end
        end
        users = left
      end
    end
    return users
  end

  -- infos: user -> a JSON object, or nil.
  local function announce(publish, channel, change, users, infos)
    for _, user in ipairs(users) do
      local name = cjson.null
      if user ~= '-' then
        name = string.sub(user, 2)
      end
      local message = cjson.encode({change = change, user = name})
      local info = infos and infos[user]
      if info then
        -- As text: cjson would write its numbers in another way.
        message = string.sub(message, 1, -2) .. ',"info":' .. info .. '}'
      end
      redis.call(publish, channel, message)
    end
  end

  -- Removes up to `most` members of a removed node; returns how many, and whether there are more.
  local function remove(channel, nodes, node, publish, most)
    local key = members_key(channel, node)
    if redis.call('EXISTS', key) == 0 then
      return 0, false
    end
    local users = redis.call('HRANDFIELD', key, most)
    if #users > 0 then
      announce(publish, channel, 'leave', nowhere_else(channel, nodes, node, users))
      redis.call('HDEL', key, unpack(users))
    end
    return #users, redis.call('EXISTS', key) == 1
  end

  -- step: how many arguments a member has.
  local function write_members(keys, args, step)
    local channel, own = keys[1], keys[2] or members_key(keys[1], args[1])
    local node, ttl, publish = args[1], tonumber(args[2]), args[3]
    local users = {}
    for at = 5, #args, step do
      users[#users + 1] = args[at]
    end
    local now, nodes = now_ms(), nodes_of(channel)
    local standing = standing_of(nodes[node], redis.call('HLEN', own))
    local before = redis.call('HMGET', own, unpack(users))
    local written, joined, left, infos = {}, {}, {}, {}
    for at, user in ipairs(users) do
      local first = 5 + step * (at - 1)
      local sessions, info = args[first + 1], step > 2 and args[first + 2] or ''
      if sessions ~= '0' then
        written[#written + 1] = user
        written[#written + 1] = info == '' and sessions or sessions .. ' ' .. info
        infos[user] = string.match(info, '^%d+ (.+)$')
        if not before[at] then
          joined[#joined + 1] = user
        end
      elseif before[at] then
        left[#left + 1] = user
      end
    end
    if #written > 0 then
      redis.call('HSET', own, unpack(written))
    end
    if #left > 0 then
      redis.call('HDEL', own, unpack(left))
    end
    if #written > 0 or redis.call('EXISTS', own) == 1 then
      renew(channel, own, node, ttl, now)
    else
      redis.call('HDEL', channel, node)
    end
    if args[4] == '1' then
      announce(publish, channel, 'join', nowhere_else(channel, nodes, node, joined), infos)
      announce(publish, channel, 'leave', nowhere_else(channel, nodes, node, left))
    end
    return standing
  end

  -- KEYS: the channel's, the node's. ARGV: node, ttl in ms, PUBLISH or SPUBLISH, announce 1 or 0,
  -- then user and sessions, any number of times; 0 sessions: the user left this node.
  -- Returns what was known of the node: known, forgotten or removed.
  local function update(keys, args)
    return write_members(keys, args, 2)
  end

  -- The same with a third argument of each user: '' or `<milliseconds> {…}`.
  local function write(keys, args)
    return write_members(keys, args, 3)
  end

  -- KEYS: the channel's, the node's. ARGV: node, ttl in ms, PUBLISH or SPUBLISH, how many members
  -- the node has written, or -1 where it does not know.
  -- Returns what was known of the node, and 1 where members of dead nodes remain: call again.
  local function refresh(keys, args)
    local channel, own = keys[1], keys[2] or members_key(keys[1], args[1])
    local node, ttl, publish = args[1], tonumber(args[2]), args[3]
    local written, count = tonumber(args[4]), redis.call('HLEN', own)
    local now, nodes = now_ms(), nodes_of(channel)
    local standing = standing_of(nodes[node], count)
    if standing ~= 'known' then
      return {standing, 0}
    end
    -- A failover loses what had not reached the replica, joins and leaves alike.
    if written >= 0 and written ~= count then
      if written < count then
        redis.call('DEL', own)
      end
      return {'forgotten', 0}
    end
    renew(channel, own, node, ttl, now)
    -- A node that is late itself cannot tell which nodes are dead: Redis may have been unreachable
    -- for all of them.
    if nodes[node] < now then
      return {standing, 0}
    end
    local most, more = REMOVALS_MAX, 0
    for other, moment in pairs(nodes) do
      if moment < now and other ~= node then
        -- From here on it is removed, even if that takes several calls: it must write all its
        -- members again.
        if moment >= 0 then
          nodes[other] = -now
          redis.call('HSET', channel, other, whole(-now))
        end
        local count, is_left = remove(channel, nodes, other, publish, most)
        most = most - count
        if is_left then
          more = 1
        elseif now + nodes[other] > REMOVED_KEPT * ttl then
          redis.call('HDEL', channel, other)
        end
      end
    end
    return {standing, more}
  end

  -- Removes the infos from a list of users and values, beyond so many bytes in total; returns how
  -- many are left.
  local function limit_infos(list, bytes)
    for at = 2, #list, 2 do
      local sessions = string.match(list[at], '^(%d+) ')
      if sessions then
        bytes = bytes - #list[at]
        if bytes < 0 then
          list[at], bytes = sessions, 0
        end
      end
    end
    return bytes
  end

  -- KEYS: the channel's. ARGV: maximum number of members, maximum bytes of their infos.
  -- Returns 1 where there are more members, else 0, and for each node alive its users and the
  -- values of its hash.
  local function list(keys, args)
    local channel, most, bytes = keys[1], tonumber(args[1]), tonumber(args[2])
    local now, more, lists = now_ms(), 0, {}
    for node, moment in pairs(nodes_of(channel)) do
      if moment >= now then
        local key = members_key(channel, node)
        local count = redis.call('HLEN', key)
        if count <= most then
          lists[#lists + 1] = redis.call('HGETALL', key)
          most = most - count
        else
          more = 1
          if most > 0 then
            lists[#lists + 1] = redis.call('HRANDFIELD', key, most, 'WITHVALUES')
            most = 0
          end
        end
      end
    end
    for _, one in ipairs(lists) do
      bytes = limit_infos(one, bytes)
    end
    return {more, lists}
  end

  -- The same with numbers of sessions only.
  local function members(keys, args)
    return list(keys, {args[1], 0})
  end

  redis.register_function('tidegate_presence_update', update)
  redis.register_function('tidegate_presence_write', write)
  -- Runs also on a server without memory: keeping members alive takes no more memory.
  redis.register_function({
    function_name = 'tidegate_presence_refresh',
    callback = refresh,
    flags = {'allow-oom'},
  })
  redis.register_function({
    function_name = 'tidegate_presence_members',
    callback = members,
    flags = {'no-writes'},
  })
  redis.register_function({
    function_name = 'tidegate_presence_list',
    callback = list,
    flags = {'no-writes'},
  })
end
