-- The oldest records that no live lock holds.
SELECT
    hub, record, device_key, device_id, generation, message_id, at, status, delivery_count
FROM feedback
WHERE
    hub = ?1
    AND expiry > ?2
    AND (locked_until IS NULL OR locked_until <= ?2)
    AND delivery_count < ?3
ORDER BY record
LIMIT ?4
