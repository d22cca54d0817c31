-- All leases that are held. KEYS: when each lease ends, what each gateway says of itself.
-- ARGV: how many at most. Answers gateway, milliseconds left, what it says; again and again.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local held = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', '(' .. string.format('%.0f', now),
  'WITHSCORES', 'LIMIT', 0, ARGV[1])
local answer = {}
-- In parts: a call takes a few thousand arguments.
for first = 1, #held, 2000 do
  local last = math.min(first + 1999, #held)
  local names = {}
  for index = first, last, 2 do
    names[#names + 1] = held[index]
  end
  local said = redis.call('HMGET', KEYS[2], unpack(names))
  for index, name in ipairs(names) do
    answer[#answer + 1] = name
    answer[#answer + 1] = string.format('%.0f', tonumber(held[first + 2 * index - 1]) - now)
    answer[#answer + 1] = said[index] or ''
  end
end
return answer
