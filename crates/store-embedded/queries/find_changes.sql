-- What is kept of the changes of desired after a version, which is the caller's, that of the session, or
-- the newest: one row for each change, or one alone.
WITH wanted (position, device_key, since, use_told) AS (VALUES /*rows*/ (?, ?, ?, ?))
SELECT
    wanted.position,
    twins.device_key,
    twins.desired_version,
    coalesce(wanted.since, wanted.use_told * sessions.told_desired, twins.desired_version) AS since,
    desired_changes.version AS change_version,
    desired_changes.body
FROM wanted
CROSS JOIN twins ON twins.device_key = wanted.device_key
LEFT JOIN sessions ON sessions.device_key = twins.device_key
LEFT JOIN desired_changes ON desired_changes.device_key = twins.device_key
    AND desired_changes.version
        > coalesce(wanted.since, wanted.use_told * sessions.told_desired, twins.desired_version)
ORDER BY wanted.position, desired_changes.version
