-- The oldest events after a position, over all lanes.
SELECT outbox.*
FROM (
    SELECT head.lane, head.position
    FROM generate_series(0, 15) AS every (lane)
    CROSS JOIN LATERAL (
        SELECT outbox.lane, outbox.position FROM outbox
        WHERE outbox.lane = every.lane AND outbox.position > $1
        ORDER BY outbox.position
        LIMIT $2
    ) AS head
    ORDER BY head.position
    LIMIT $2
) AS oldest
JOIN outbox ON outbox.lane = ANY (ARRAY[oldest.lane]) AND outbox.position = oldest.position
ORDER BY outbox.position
