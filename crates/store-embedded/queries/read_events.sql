SELECT * FROM outbox WHERE position > ? ORDER BY position LIMIT ?
