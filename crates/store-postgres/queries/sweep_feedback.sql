-- Records whose life or deliveries are used up, without those that others are at; a held record
-- keeps its last delivery. $1 now, $2 deliveries, $3 how many.
DELETE FROM feedback
USING (
    SELECT hub, record
    FROM (
        SELECT hub, record
        FROM feedback
        WHERE expiry <= $1::bigint
        LIMIT $3::bigint
        FOR UPDATE SKIP LOCKED
    ) AS outlived
    UNION
    SELECT hub, record
    FROM (
        SELECT hub, record
        FROM feedback
        WHERE
            delivery_count > 0
            AND delivery_count >= $2::bigint
            AND (locked_until IS NULL OR locked_until <= $1::bigint)
        LIMIT $3::bigint
        FOR UPDATE SKIP LOCKED
    ) AS used_up
    LIMIT $3::bigint
) AS swept
WHERE feedback.hub = ANY (ARRAY[swept.hub]) AND feedback.record = swept.record
