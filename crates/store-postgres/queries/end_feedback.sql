-- A batch that its receiver has, or never wants: held, and not past its life. $1 hub, $2 token,
-- $3 now.
DELETE FROM feedback
WHERE
    hub = $1::text
    AND lock_token = $2::bytea
    AND locked_until > $3::bigint
    AND expiry > $3::bigint
