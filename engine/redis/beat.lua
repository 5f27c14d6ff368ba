-- Says that a node lives, and hears who else does, by the server's own clock.
-- KEYS: nodes, born. ARGV: node, what it says of itself, its life in ms.
-- Answers {ms since born, then what each living node said last}. A node whose life is over is forgotten.
-- So is a field that no beat wrote: it would fail every beat of every node.
-- `born` goes with all other keys when the server comes back empty: nothing was remembered before it.
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format("%.0f", number) end

redis.call("SET", KEYS[2], whole(now), "NX")
redis.call("HSET", KEYS[1], ARGV[1], whole(now + ARGV[3]) .. " " .. ARGV[2])
local answer = { math.max(0, now - redis.call("GET", KEYS[2])) }
local all = redis.call("HGETALL", KEYS[1])
for at = 1, #all, 2 do
  local untilMs, said = string.match(all[at + 1], "^(%d+) (.*)$")
  if untilMs and tonumber(untilMs) > now then
    answer[#answer + 1] = said
  else
    redis.call("HDEL", KEYS[1], all[at])
  end
end
return answer
