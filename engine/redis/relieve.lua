-- Drops what is stored from the logs of a shard, for a server that is full. The heads stay.
-- KEYS: term, heads, dirty, bytes, lock. ARGV: term, how the keys of the logs begin.
-- Answers the bytes that are left, or -1 when the term is not in force. An empty term is that of who owns nothing in
-- the shard: -1 while its lock is held.
-- A room that is not dirty is stored up to its head. The first write frees: the others pass for it.
if ARGV[1] == "" then
  if redis.call("EXISTS", KEYS[5]) == 1 then return -1 end
elseif redis.call("GET", KEYS[1]) ~= ARGV[1] then
  return -1
end
local heads = redis.call("HGETALL", KEYS[2])
local dropped = 0
for at = 1, #heads, 2 do
  local room = heads[at]
  local offset, term, _, size = string.match(heads[at + 1], "^(%d+) (%d+) (%d+) (%d+)$")
  if tonumber(size) > 0 and redis.call("SISMEMBER", KEYS[3], room) == 0 then
    redis.call("DEL", ARGV[2] .. room)
    redis.call("HSET", KEYS[2], room, offset .. " " .. term .. " " .. string.format("%.0f", offset + 1) .. " 0")
    dropped = dropped + size
  end
end
if dropped > 0 then return redis.call("DECRBY", KEYS[4], string.format("%.0f", dropped)) end
return tonumber(redis.call("GET", KEYS[4]) or "0")
