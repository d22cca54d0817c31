-- Times only move forward, whatever order they come in.
UPDATE identities
SET last_activity_at = item.at
FROM (
    SELECT column1 AS device_key, MAX(column2) AS at
    FROM (VALUES /*rows*/ (?, ?))
    GROUP BY column1
) AS item
WHERE identities.device_key = item.device_key AND identities.last_activity_at < item.at
