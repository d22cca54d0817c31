-- Writes an entry again. KEYS[1] the route. ARGV: epoch, what follows it in the entry, ttl in ms,
-- the epoch of an entry that counts as absent though it is newer (0: none).
-- Answers the newer entry that stands, or nothing.
local held = redis.call('GET', KEYS[1])
if held then
  local epoch = string.match(held, '^%d+') or '0'
  if epoch == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
    return false
  end
  if tonumber(epoch) > tonumber(ARGV[1]) and epoch ~= ARGV[4] then
    return held
  end
end
local entry = ARGV[1] .. ' ' .. ARGV[2]
redis.call('SET', KEYS[1], entry, 'PX', ARGV[3])
redis.call('SPUBLISH', KEYS[1], entry)
return false
