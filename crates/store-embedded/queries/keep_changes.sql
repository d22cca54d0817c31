INSERT INTO desired_changes (device_key, version, hub, body)
SELECT column1, column2, column3, column4
FROM (VALUES /*rows*/ (?, ?, ?, ?))
WHERE column1 IS NOT NULL
ON CONFLICT (device_key, version) DO UPDATE SET body = excluded.body
