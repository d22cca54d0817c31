-- Whether this trim is the only one, and between which positions the outbox lies; `at` is that of its
-- first event. Parameters: class and number of the advisory lock.
SELECT
    pg_try_advisory_xact_lock($1, $2) AS is_alone,
    (array_agg(ends.first ORDER BY ends.first))[1] AS first,
    (array_agg(ends.at ORDER BY ends.first))[1] AS at,
    max(ends.last) AS last
FROM generate_series(0, 15) AS every (lane)
CROSS JOIN LATERAL (
    SELECT
        head.position AS first,
        head.at,
        (
            SELECT outbox.position FROM outbox
            WHERE outbox.lane = every.lane
            ORDER BY outbox.position DESC
            LIMIT 1
        ) AS last
    FROM (
        SELECT outbox.position, outbox.at FROM outbox
        WHERE outbox.lane = every.lane
        ORDER BY outbox.position
        LIMIT 1
    ) AS head
) AS ends
