-- The oldest events of a lane, one at least, no more once they hold `$4` bytes. A statement of its own
-- after the one that took the lane: it sees what the holder before has removed.
SELECT
    device_key, event_id, position, hub, device_id, module_id, kind, at, properties, body
FROM (
    SELECT
        head.*,
        sum(octet_length(head.properties) + octet_length(head.body)) OVER (
            ORDER BY head.position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS bytes_before
    FROM (
        SELECT * FROM outbox
        WHERE lane = $1 AND position >= $2
        ORDER BY position
        LIMIT $3
    ) AS head
) AS measured
WHERE COALESCE(bytes_before, 0) < $4
ORDER BY position
