-- The oldest events of a lane: as many as fit the number of bytes, and one in any case.
-- Parameters: lane, first and last position to look at, most events, most bytes.
SELECT position, hub, event_id, device_key, device_id, module_id, kind, at, properties, body
FROM (
    SELECT
        *,
        SUM(LENGTH(body) + LENGTH(properties)) OVER (
            ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS bytes_before
    FROM (
        SELECT * FROM outbox
        WHERE position BETWEEN ?2 AND ?3 AND device_key & 15 = ?1
        ORDER BY position
        LIMIT ?4
    )
)
WHERE COALESCE(bytes_before, 0) < ?5
ORDER BY position
