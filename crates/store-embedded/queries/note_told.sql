-- The versions of desired that devices have been told, which only rise.
WITH told (device_key, version) AS (VALUES /*rows*/ (?, ?))
UPDATE sessions
SET told_desired = max(coalesce(sessions.told_desired, 0), told.version)
FROM told
WHERE sessions.device_key = told.device_key
