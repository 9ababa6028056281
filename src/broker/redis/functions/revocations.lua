-- Stores revocations of users' tokens.
--
-- KEYS[1]: a sorted set, user -> Unix milliseconds until which issued tokens are revoked. Each new
-- entry is published to the Redis channel of the same name as `<milliseconds> <user>`.
do
  -- Maximum number of expired entries removed in one call, so that one call does not keep Redis
  -- busy for long.
  local REMOVALS_MAX = 1000

  -- ARGV: how long to keep them in ms, maximum number of entries, PUBLISH or SPUBLISH, then user
  -- and milliseconds, any number of times. Returns how many of them were new; the latest moment of
  -- a user counts.
  local function revoke(keys, args)
    local key = keys[1]
    local keep, most, publish = tonumber(args[1]), tonumber(args[2]), args[3]
    local new = 0
    for at = 4, #args, 2 do
      local user, before = args[at], args[at + 1]
      if redis.call('ZADD', key, 'GT', 'CH', before, user) == 1 then
        redis.call(publish, key, before .. ' ' .. user)
        new = new + 1
      end
    end
    local removals = redis.call('ZCOUNT', key, '-inf', whole(now_ms() - keep))
    removals = math.max(removals, redis.call('ZCARD', key) - most)
    if removals > 0 then
      redis.call('ZREMRANGEBYRANK', key, 0, math.min(removals, REMOVALS_MAX) - 1)
    end
    redis.call('PEXPIRE', key, whole(keep))
    return new
  end

  redis.register_function('tidegate_revoke', revoke)
end
