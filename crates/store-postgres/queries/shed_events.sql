-- Removes what is outside the bounds among the oldest 10,000 events: walked from the oldest on, not
-- beyond the first event that may stay. Rows that a relay is just removing are left to it: nobody is
-- waited for. Parameters: oldest instant kept, events beyond the greatest number.
WITH
    oldest AS MATERIALIZED (
        SELECT head.lane, head.position, row_number() OVER (ORDER BY head.position) AS place
        FROM generate_series(0, 15) AS every (lane)
        CROSS JOIN LATERAL (
            SELECT outbox.lane, outbox.position FROM outbox
            WHERE outbox.lane = every.lane
            ORDER BY outbox.position
            LIMIT 10000
        ) AS head
        ORDER BY head.position
        LIMIT 10000
    ),
    aged AS MATERIALIZED (
        SELECT outbox.device_key, outbox.event_id, outbox.position, outbox.at, oldest.place
        FROM oldest
        JOIN outbox ON outbox.lane = ANY (ARRAY[oldest.lane]) AND outbox.position = oldest.position
    ),
    first_kept AS MATERIALIZED (
        SELECT min(position) AS position FROM aged WHERE at >= $1 AND place > $2
    ),
    shed AS MATERIALIZED (
        SELECT outbox.device_key, outbox.event_id
        FROM aged
        JOIN outbox ON outbox.device_key = ANY (ARRAY[aged.device_key]) AND outbox.event_id = aged.event_id
        WHERE
            aged.position < COALESCE(
                (SELECT first_kept.position FROM first_kept), 9223372036854775807
            )
        FOR UPDATE OF outbox SKIP LOCKED
    )
DELETE FROM outbox
USING shed
WHERE outbox.device_key = ANY (ARRAY[shed.device_key]) AND outbox.event_id = shed.event_id
