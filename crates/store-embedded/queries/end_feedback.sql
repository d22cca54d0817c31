-- A batch that its receiver has, or never wants: held, and not past its life.
DELETE FROM feedback
WHERE hub = ?1 AND lock_token = ?2 AND locked_until > ?3 AND expiry > ?3
