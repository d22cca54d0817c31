-- What is kept of the changes of desired after a version, which is the caller's, that of the session, or
-- the newest: one row for each change, or one alone.
SELECT
    item.position,
    twins.device_key,
    twins.desired_version,
    coalesce(item.since, item.use_told * sessions.told_desired, twins.desired_version) AS since,
    desired_changes.version AS change_version,
    desired_changes.body
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
    AS item (position, device_key, since, use_told)
JOIN twins ON twins.device_key = ANY (ARRAY[item.device_key])
LEFT JOIN sessions ON sessions.device_key = ANY (ARRAY[item.device_key])
LEFT JOIN desired_changes ON desired_changes.device_key = ANY (ARRAY[item.device_key])
    AND desired_changes.version
        > coalesce(item.since, item.use_told * sessions.told_desired, twins.desired_version)
ORDER BY item.position, desired_changes.version
