-- The versions of desired that devices have been told, which only rise.
UPDATE sessions
SET told_desired = greatest(sessions.told_desired, item.told)
FROM unnest($1::bigint[], $2::bigint[]) AS item (device_key, told)
WHERE sessions.device_key = ANY (ARRAY[item.device_key])
