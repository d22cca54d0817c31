-- Enters a connection under an epoch above every earlier one of the device.
-- KEYS[1] the route. ARGV: what follows the epoch in the entry, the lowest epoch to give, ttl in ms.
-- Answers the epoch and the entry that was there, if any.
local held = redis.call('GET', KEYS[1])
local time = redis.call('TIME')
local epoch = math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), tonumber(ARGV[2]))
if held then
  epoch = math.max(epoch, tonumber(string.match(held, '^%d+') or '0') + 1)
end
local text = string.format('%.0f', epoch)
local entry = text .. ' ' .. ARGV[1]
redis.call('SET', KEYS[1], entry, 'PX', ARGV[3])
redis.call('SPUBLISH', KEYS[1], entry)
return {text, held}
