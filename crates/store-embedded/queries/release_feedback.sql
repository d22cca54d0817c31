-- A batch given back; the guard of end_feedback.
UPDATE feedback
SET lock_token = NULL, locked_until = NULL
WHERE hub = ?1 AND lock_token = ?2 AND locked_until > ?3 AND expiry > ?3
