-- Records whose life or deliveries are used up; a held record keeps its last delivery.
DELETE FROM feedback
WHERE (hub, record) IN (
    SELECT hub, record FROM (
        SELECT hub, record FROM feedback WHERE expiry <= ?1
        UNION
        SELECT hub, record FROM feedback
        WHERE
            delivery_count > 0
            AND delivery_count >= ?2
            AND (locked_until IS NULL OR locked_until <= ?1)
    )
    LIMIT ?3
)
