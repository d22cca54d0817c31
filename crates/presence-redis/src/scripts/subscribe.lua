-- Notes what a connection has asked for, if it is the current one.
-- KEYS[1] the route. ARGV: epoch, subscriptions, ttl in ms.
local held = redis.call('GET', KEYS[1])
if not held then
  return 0
end
local epoch, before, subscriptions, after = string.match(held, '^(%d+)( %d+ %a+ )(%d+)( .+)$')
if epoch ~= ARGV[1] or subscriptions == ARGV[2] then
  return 0
end
local entry = epoch .. before .. ARGV[2] .. after
redis.call('SET', KEYS[1], entry, 'PX', ARGV[3])
redis.call('SPUBLISH', KEYS[1], entry)
return 1
