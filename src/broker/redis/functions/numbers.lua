-- Times and numbers, for all parts of the library.

-- This server's clock, in milliseconds.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A whole number as text. Lua itself writes a large one with an exponent, which Redis refuses.
local function whole(number)
  return string.format('%.0f', number)
end
