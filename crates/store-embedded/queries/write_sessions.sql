-- Sessions of identities that are gone find no hub and are dropped.
INSERT INTO sessions (device_key, hub, body)
SELECT identities.device_key, identities.hub, item.column2
FROM (VALUES /*rows*/ (?, ?)) AS item
CROSS JOIN identities ON identities.device_key = item.column1
WHERE TRUE
ON CONFLICT (device_key) DO UPDATE SET body = excluded.body
