-- Gives a lease back. KEYS: when each lease ends, what each gateway says of itself. ARGV: gateway.
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
