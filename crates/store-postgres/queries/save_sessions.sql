-- Sessions written and removed, rows locked in the order of their keys. Those of identities that are
-- gone find no hub and are dropped; an identity stays while its session is written.
WITH removed AS (
    DELETE FROM sessions
    USING (
        SELECT device_key FROM sessions
        WHERE device_key = ANY ($3)
        ORDER BY device_key
        FOR UPDATE
    ) AS locked
    WHERE sessions.device_key = ANY (ARRAY[locked.device_key])
)
INSERT INTO sessions (device_key, hub, body)
SELECT identities.device_key, identities.hub, item.body
FROM unnest($1::bigint[], $2::bytea[]) AS item (device_key, body)
JOIN identities ON identities.device_key = ANY (ARRAY[item.device_key])
ORDER BY item.device_key
FOR KEY SHARE OF identities
ON CONFLICT (device_key) DO UPDATE SET body = excluded.body
