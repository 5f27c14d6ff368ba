-- Appends the packs of one turn, of any number of shards; each shard's all or none (protocol, rule 2).
-- ARGV: prefix of the keys, then the packs as bytes: number of shards; of each its number, term and number of
-- packs; of each pack room, prevTerm, first, last, term of the last, opening, payload.
-- Answers one letter per shard: o(k), a(lready), s(tale), l(ost).
-- The names of the keys are made here: one per room would cost the writer more than the packs. So this needs
-- a single Redis, not a Redis Cluster.
local prefix, bytes = ARGV[1], ARGV[2]

local function whole(number) return string.format("%.0f", number) end

local function fits(head, pack, term)
  if not head then return pack.opening and "o" or "l" end
  local offset, headTerm, first, size = string.match(head, "^(%d+) (%d+) (%d+) (%d+)$")
  if tonumber(headTerm) == term and tonumber(offset) >= pack.last then return "a" end
  if tonumber(offset) ~= pack.first - 1 or tonumber(headTerm) ~= pack.prevTerm then return "l" end
  pack.begin, pack.size = first, tonumber(size)
  return "o"
end

local function check(base, term, packs)
  local inForce = tonumber(redis.call("GET", base .. "term") or "0")
  if inForce ~= term then return inForce > term and "s" or "l" end
  local already = 0
  for _, pack in ipairs(packs) do
    local fit = fits(redis.call("HGET", base .. "heads", pack.room), pack, term)
    if fit == "l" then return "l" end
    if fit == "a" then already = already + 1 end
  end
  if already == 0 then return "o" end
  return already == #packs and "a" or "l"
end

local function write(base, packs)
  local size = 0
  for _, pack in ipairs(packs) do
    local room, payload, last = pack.room, pack.payload, whole(pack.last)
    redis.call(
      "XADD", base .. "log:" .. room, last .. "-0",
      "first", whole(pack.first), "term", whole(pack.term), "prevTerm", whole(pack.prevTerm), "bytes", payload
    )
    local head = last .. " " .. whole(pack.term) .. " " .. (pack.begin or whole(pack.first)) .. " "
    redis.call("HSET", base .. "heads", room, head .. whole((pack.size or 0) + #payload))
    redis.call("SADD", base .. "dirty", room)
    redis.call("PUBLISH", base .. "room:" .. room, payload)
    size = size + #payload
  end
  redis.call("INCRBY", base .. "bytes", size)
end

local shards, at = struct.unpack(">I4", bytes, 1)
local answers = {}
for s = 1, shards do
  local shard, term, count
  shard, term, count, at = struct.unpack(">I4dI4", bytes, at)
  local base = prefix .. "{" .. shard .. "}:"
  local packs = {}
  for p = 1, count do
    local room, prevTerm, first, last, lastTerm, opening, payload
    room, prevTerm, first, last, lastTerm, opening, payload, at = struct.unpack(">Bc0ddddBI4c0", bytes, at)
    packs[p] = {
      room = room, prevTerm = prevTerm, first = first, last = last,
      term = lastTerm, opening = opening == 1, payload = payload,
    }
  end
  answers[s] = check(base, term, packs)
  if answers[s] == "o" then write(base, packs) end
end
return table.concat(answers)
