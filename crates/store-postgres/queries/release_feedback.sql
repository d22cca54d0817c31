-- A batch given back; the guard of end_feedback.
UPDATE feedback
SET lock_token = NULL, locked_until = NULL
WHERE
    hub = $1::text
    AND lock_token = $2::bytea
    AND locked_until > $3::bigint
    AND expiry > $3::bigint
