-- The keys in which a channel's idempotency keys are stored, each with its publisher.
--
-- The key is `<prefix>id {<tag>} <channel> <publisher> <id>`. The tag puts it into the slot of the
-- channel's own key, because a function may touch no other slot; channel names cannot contain its
-- spaces.

-- CRC16 of one byte as in Redis Cluster, by byte; and the byte by the low half of its CRC, which
-- differs for each.
local crcs, bytes_by_low = nil, nil

local function build_crcs()
  crcs, bytes_by_low = {}, {}
  for byte = 0, 255 do
    local crc = bit.lshift(byte, 8)
    for _ = 1, 8 do
      local carry = bit.band(crc, 0x8000) ~= 0
      crc = bit.band(bit.lshift(crc, 1), 0xFFFF)
      crc = carry and bit.bxor(crc, 0x1021) or crc
    end
    crcs[byte], bytes_by_low[bit.band(crc, 0xFF)] = crc, byte
  end
end

local function crc16(text)
  local crc = 0
  for at = 1, #text do
    local byte = bit.bxor(bit.rshift(crc, 8), string.byte(text, at))
    crc = bit.bxor(bit.band(bit.lshift(crc, 8), 0xFFFF), crcs[byte])
  end
  return crc
end

-- Two bytes with the slot of `key`, for a key that no tag can spell. Each CRC has one such pair,
-- and four CRCs have the slot: one of the four pairs is without the brace that would end the tag.
local function tag_in_slot_of(key)
  if not crcs then
    build_crcs()
  end
  local crc = crc16(key)
  for slots = 0, 3 do
    local wanted = bit.bxor(crc, slots * 0x4000)
    local second = bytes_by_low[bit.band(wanted, 0xFF)]
    local high = bit.bxor(bit.rshift(wanted, 8), bit.rshift(crcs[second], 8))
    local first = bytes_by_low[high]
    second = bit.bxor(second, bit.rshift(crcs[first], 8))
    local tag = string.char(first, second)
    if not string.find(tag, '}', 1, true) then
      return tag
    end
  end
end

-- The first bytes of shared tags, in the order in which they are tried.
local SHARED_FIRST = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

local function is_in_tag(byte)
  return byte >= 33 and byte <= 126 and byte ~= 123 and byte ~= 125
end

-- The tag of three characters that all channels of a slot share, as nodes compute it (slot.rs). Two bytes follow from a CRC
-- and the byte before them; the first combination that is printable counts.
local function shared_tag(tag)
  if not crcs then
    build_crcs()
  end
  local slot = bit.band(crc16(tag), 0x3FFF)
  for at = 1, #SHARED_FIRST do
    local first = string.byte(SHARED_FIRST, at)
    local before = crcs[first]
    for slots = 0, 3 do
      local wanted = slot + slots * 0x4000
      local last = bytes_by_low[bit.band(wanted, 0xFF)]
      local low = bit.bxor(bit.rshift(wanted, 8), bit.rshift(crcs[last], 8))
      local middle = bytes_by_low[low]
      local high = bit.bxor(bit.band(before, 0xFF), bit.rshift(crcs[middle], 8))
      local second, third = bit.bxor(middle, bit.rshift(before, 8)), bit.bxor(last, high)
      if is_in_tag(second) and is_in_tag(third) then
        return string.char(first, second, third)
      end
    end
  end
end

-- A hash tag in the key's slot: the one that it has, or all of it. A key with an unbalanced closing
-- brace is not its own tag, which matters only on a cluster.
local function tag_of(key, is_cluster)
  local open = string.find(key, '{', 1, true)
  local close = open and string.find(key, '}', open + 1, true)
  if close and close > open + 1 then
    return string.sub(key, open + 1, close - 1)
  elseif is_cluster and string.find(key, '}', 1, true) then
    return tag_in_slot_of(key)
  end
  return key
end

-- The owner of idempotency keys: a user, all sessions without a user together, or all services together.
local function publisher_of(header)
  local fields = cjson.decode(header)
  local user = fields.user
  -- With the length, so that no name and key together equal another pair.
  if type(user) == 'string' then
    return 'user ' .. #user .. ' ' .. user .. ' '
  elseif type(fields.session) == 'string' then
    return 'anonymous '
  end
  return 'service '
end
