-- Keeps changes of desired, and removes those that they push out. The rows of their twins are locked.
WITH outdated AS (
    DELETE FROM desired_changes
    USING unnest($5::bigint[], $6::bigint[]) AS floor (device_key, version)
    WHERE desired_changes.device_key = ANY (ARRAY[floor.device_key])
        AND desired_changes.version <= floor.version
)
INSERT INTO desired_changes (device_key, version, hub, body)
SELECT item.device_key, item.version, item.hub, item.body
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[])
    AS item (device_key, version, hub, body)
ON CONFLICT (device_key, version) DO UPDATE SET body = excluded.body
