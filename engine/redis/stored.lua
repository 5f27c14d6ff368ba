-- Takes rooms off the dirty ones whose heads are stored, and trims what is stored beyond the last kept for replay.
-- ARGV: prefix of the keys; entries and bytes kept per room; "1" when only unstored entries may stay; then the
-- rooms as bytes: how many; of each shard, term, room, offset and term of the last stored entry.
-- Answers one number per room: -1 when the term is not in force, else the bytes of the shard's logs.
-- It trims by offset, never by a length, and only up to the stored one.
local prefix, bytes = ARGV[1], ARGV[5]
local keepEntries, keepBytes, crowded = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == "1"
if crowded then keepEntries = 0 end
local PAGE = 64

local function whole(number) return string.format("%.0f", number) end

-- Drops packs from the beginning; answers the first offset left and the bytes dropped.
local function trim(key, head, stored)
  local begin, dropped = head.begin, 0
  local from = "-"
  while true do
    local page = redis.call("XRANGE", key, from, whole(stored), "COUNT", PAGE)
    for _, pack in ipairs(page) do
      local last = tonumber(string.match(pack[1], "^%d+"))
      if not crowded and head.offset - last < keepEntries and head.size - dropped <= keepBytes then return begin, dropped end
      begin, dropped = last + 1, dropped + #pack[2][8]
    end
    if #page < PAGE then return begin, dropped end
    from = "(" .. page[PAGE][1]
  end
end

local count, at = struct.unpack(">I4", bytes, 1)
local answers = {}
for i = 1, count do
  local shard, term, room, offset, storedTerm
  shard, term, room, offset, storedTerm, at = struct.unpack(">I4dBc0dd", bytes, at)
  local base = prefix .. "{" .. shard .. "}:"
  if tonumber(redis.call("GET", base .. "term") or "0") ~= term then
    answers[i] = -1
  else
    local text = redis.call("HGET", base .. "heads", room)
    local dropped = 0
    if text then
      local headOffset, headTerm, begin, size = string.match(text, "^(%d+) (%d+) (%d+) (%d+)$")
      local head = { offset = tonumber(headOffset), begin = tonumber(begin), size = tonumber(size) }
      if head.offset == offset and tonumber(headTerm) == storedTerm then redis.call("SREM", base .. "dirty", room) end
      if crowded or head.offset - head.begin + 1 > 2 * keepEntries or head.size > keepBytes then
        begin, dropped = trim(base .. "log:" .. room, head, offset)
        if dropped > 0 then
          redis.call("XTRIM", base .. "log:" .. room, "MINID", "=", whole(begin) .. "-0")
          local left = headOffset .. " " .. headTerm .. " " .. whole(begin) .. " " .. whole(head.size - dropped)
          redis.call("HSET", base .. "heads", room, left)
        end
      end
    end
    -- A full server takes no write of a script whose first one frees nothing, but may be asked.
    answers[i] = dropped > 0 and redis.call("DECRBY", base .. "bytes", dropped)
      or tonumber(redis.call("GET", base .. "bytes") or "0")
  end
end
return answers
