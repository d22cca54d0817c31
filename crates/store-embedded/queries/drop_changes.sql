-- Removes changes of desired up to a version.
WITH floor (device_key, version) AS (VALUES /*rows*/ (?, ?))
DELETE FROM desired_changes
WHERE (device_key, version) IN (
    SELECT outdated.device_key, outdated.version
    FROM floor
    CROSS JOIN desired_changes AS outdated
        ON outdated.device_key = floor.device_key AND outdated.version <= floor.version
)
