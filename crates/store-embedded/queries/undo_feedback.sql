-- A batch that never went out: as if it had not been received; the guard of end_feedback.
UPDATE feedback
SET lock_token = NULL, locked_until = NULL, delivery_count = delivery_count - 1
WHERE hub = ?1 AND lock_token = ?2 AND locked_until > ?3 AND expiry > ?3
