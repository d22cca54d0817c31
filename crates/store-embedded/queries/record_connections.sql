-- Times only move forward, whatever order the changes come in.
UPDATE identities
SET
    connection_state_updated_at = MAX(identities.connection_state_updated_at, item.at),
    last_activity_at = MAX(identities.last_activity_at, item.at)
FROM (
    SELECT column1 AS device_key, MAX(column2) AS at
    FROM (VALUES /*rows*/ (?, ?))
    GROUP BY column1
) AS item
WHERE identities.device_key = item.device_key
