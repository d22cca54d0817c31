-- Up to 1,000 events of each lane counted, and the oldest of all. Parameter: the floors of the lanes.
SELECT
    sum(found.events)::bigint AS events,
    bool_or(found.events = 1000) AS is_more,
    (array_agg(found.at ORDER BY found.first))[1] AS oldest,
    pg_stat_get_live_tuples('outbox'::regclass) AS estimate
FROM unnest($1::bigint[]) WITH ORDINALITY AS every (floor, place)
CROSS JOIN LATERAL (
    SELECT
        count(*) AS events,
        min(head.position) AS first,
        (array_agg(head.at ORDER BY head.position))[1] AS at
    FROM (
        SELECT outbox.position, outbox.at FROM outbox
        WHERE outbox.lane = every.place - 1 AND outbox.position >= every.floor
        ORDER BY outbox.position
        LIMIT 1000
    ) AS head
) AS found
