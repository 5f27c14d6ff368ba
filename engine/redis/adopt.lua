-- Takes over a lock that was passed on (protocol, handing over, step 3): replaces its value and renews it in one step.
-- KEYS: lock. ARGV: the giver's value, the new one, the lock's life in ms.
-- Answers 1, or 0 when the lock has not the giver's value. Asked once more it has the new one, and is renewed.
local value = redis.call("GET", KEYS[1])
if value ~= ARGV[1] and value ~= ARGV[2] then return 0 end
redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
return 1
