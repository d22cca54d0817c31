-- A batch that never went out: as if it had not been received; the guard of end_feedback.
UPDATE feedback
SET lock_token = NULL, locked_until = NULL, delivery_count = GREATEST(delivery_count - 1, 0)
WHERE
    hub = $1::text
    AND lock_token = $2::bytea
    AND locked_until > $3::bigint
    AND expiry > $3::bigint
