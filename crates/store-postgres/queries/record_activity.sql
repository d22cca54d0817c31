-- Times only move forward, whatever order they come in. Rows are locked in the order of their keys,
-- so that two batches never wait for each other.
WITH moved AS MATERIALIZED (
    SELECT identities.device_key, item.at
    FROM unnest($1::bigint[], $2::bigint[]) AS item (device_key, at)
    JOIN identities ON identities.device_key = ANY (ARRAY[item.device_key])
    WHERE identities.last_activity_at < item.at
    ORDER BY item.device_key
    FOR NO KEY UPDATE OF identities
)
UPDATE identities
SET last_activity_at = greatest(identities.last_activity_at, moved.at)
FROM moved
WHERE identities.device_key = ANY (ARRAY[moved.device_key])
