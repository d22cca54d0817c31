-- Messages waiting, held or not.
WITH
    moment (now) AS (VALUES (?)),
    wanted (position, device_key) AS (VALUES /*rows*/ (?, ?))
SELECT
    wanted.position,
    (
        SELECT COUNT(*) FROM messages
        WHERE
            messages.device_key = wanted.device_key
            AND messages.expiry > (SELECT now FROM moment)
    ) AS waiting
FROM wanted
WHERE wanted.position IS NOT NULL
