-- Holds the oldest records that no live lock and no other receiver holds, if they make a batch:
-- $4 of them, or the oldest from before $5. $1 hub, $2 now, $3 deliveries before a record is
-- dropped, $6 token, $7 until when. Answers the records with this delivery counted.
WITH
    oldest AS MATERIALIZED (
        SELECT record, at
        FROM feedback
        WHERE
            hub = $1::text
            AND expiry > $2::bigint
            AND (locked_until IS NULL OR locked_until <= $2::bigint)
            AND delivery_count < $3::bigint
        ORDER BY record
        LIMIT $4::bigint
        FOR UPDATE SKIP LOCKED
    ),
    batch AS MATERIALIZED (
        SELECT record
        FROM oldest
        WHERE
            (SELECT COUNT(*) FROM oldest) >= $4::bigint
            OR (SELECT at FROM oldest ORDER BY record LIMIT 1) <= $5::bigint
    )
UPDATE feedback
SET
    delivery_count = feedback.delivery_count + 1,
    lock_token = $6::bytea,
    locked_until = $7::bigint
FROM batch
WHERE feedback.hub = $1::text AND feedback.record = ANY (ARRAY[batch.record])
RETURNING
    feedback.hub,
    feedback.record,
    feedback.device_key,
    feedback.device_id,
    feedback.generation,
    feedback.message_id,
    feedback.at,
    feedback.status,
    feedback.delivery_count
