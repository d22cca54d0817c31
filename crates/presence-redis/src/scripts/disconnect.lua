-- Removes a connection, if it is the current one. KEYS[1] the route. ARGV: epoch.
-- Answers the entry that was removed, if any.
local held = redis.call('GET', KEYS[1])
if not held or string.match(held, '^%d+') ~= ARGV[1] then
  return false
end
redis.call('DEL', KEYS[1])
redis.call('SPUBLISH', KEYS[1], '-' .. ARGV[1])
return held
