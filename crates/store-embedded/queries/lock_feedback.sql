UPDATE feedback
SET delivery_count = delivery_count + 1, lock_token = ?2, locked_until = ?3
WHERE hub = ?1 AND record IN (SELECT value FROM json_each(?4))
