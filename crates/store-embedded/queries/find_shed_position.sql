-- The last position outside the bounds among the oldest 10,000 events: walked from the oldest on,
-- not beyond the first event that may stay. Parameters: oldest instant kept, most events kept,
-- events there are.
WITH
    oldest (position, at, place) AS MATERIALIZED (
        SELECT position, at, ROW_NUMBER() OVER (ORDER BY position)
        FROM (SELECT position, at FROM outbox ORDER BY position LIMIT 10000)
    ),
    first_kept (position) AS (
        SELECT MIN(position) FROM oldest WHERE at >= ?1 AND place > ?3 - ?2
    )
SELECT MAX(oldest.position) AS position
FROM oldest
WHERE oldest.position < COALESCE((SELECT position FROM first_kept), 9223372036854775807)
