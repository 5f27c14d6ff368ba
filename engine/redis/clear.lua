-- Removes a room's log and head (protocol, rules 2 and 13), if the term is in force and the head is the one named.
-- KEYS: term, heads, dirty, bytes, the room's log. ARGV: term, room, offset and term of the head, "1" when only a
-- room may go all of which is stored. Answers 1 when it is gone (or was before), else 0.
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
local text = redis.call("HGET", KEYS[2], ARGV[2])
if not text then return 1 end
local offset, term, _, size = string.match(text, "^(%d+) (%d+) (%d+) (%d+)$")
if offset ~= ARGV[3] or term ~= ARGV[4] then return 0 end
if ARGV[5] == "1" and redis.call("SISMEMBER", KEYS[3], ARGV[2]) == 1 then return 0 end

redis.call("UNLINK", KEYS[5])
redis.call("HDEL", KEYS[2], ARGV[2])
redis.call("SREM", KEYS[3], ARGV[2])
redis.call("DECRBY", KEYS[4], size)
return 1
