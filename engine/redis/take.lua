-- Fences a shard for a term (protocol, rule 2 and "Becoming owner", step 3).
-- KEYS: lock, term, lossy, owner. ARGV: lock's value, term, node, "1" when the taker has proof of a loss.
-- Answers {term before or 0, lossy}, or nil when the lock is another's or the term is not above the one in force.
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return nil end
local term = tonumber(ARGV[2])
local previous = tonumber(redis.call("GET", KEYS[2]) or "0")
if previous >= term then return nil end
local lossy = tonumber(redis.call("GET", KEYS[3]) or "0")
if ARGV[4] == "1" or previous ~= term - 1 then lossy = term end

redis.call("MSET", KEYS[2], ARGV[2], KEYS[3], string.format("%.0f", lossy), KEYS[4], ARGV[2] .. " " .. ARGV[3])
return { previous, lossy }
