-- Says what a gateway wants and tells what all want. KEYS: when each word ends, what each gateway wants.
-- ARGV: gateway, ttl in ms, what it wants, how many words at most. Answers gateway, what it wants; again and again.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, 100)
for _, gateway in ipairs(dead) do
  redis.call('ZREM', KEYS[1], gateway)
  redis.call('HDEL', KEYS[2], gateway)
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
redis.call('EXPIRE', KEYS[1], 3600)
redis.call('EXPIRE', KEYS[2], 3600)
local names = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', '(' .. string.format('%.0f', now),
  'LIMIT', 0, ARGV[4])
local said = redis.call('HMGET', KEYS[2], unpack(names))
local answer = {}
for index, name in ipairs(names) do
  answer[#answer + 1] = name
  answer[#answer + 1] = said[index] or ''
end
return answer
