-- Modules of a hub, in the order of their keys; parts that nobody reads are empty.
-- ?1 hub, ?2 after, ?3 most, ?4 to ?9 whether tags, desired, reported, configurations and the
-- metadata of desired and reported are read, ?10 nothing.
SELECT
    identities.*,
    twins.etag AS twin_etag,
    twins.version,
    twins.desired_version,
    twins.reported_version,
    CASE WHEN ?4 THEN twins.tags ELSE '{}' END AS tags,
    CASE WHEN ?5 THEN twins.desired ELSE '{}' END AS desired,
    CASE WHEN ?6 THEN twins.reported ELSE '{}' END AS reported,
    CASE WHEN ?7 THEN twins.configurations ELSE '{}' END AS configurations,
    CASE WHEN ?8 THEN twins.desired_metadata ELSE '{}' END AS desired_metadata,
    CASE WHEN ?9 THEN twins.reported_metadata ELSE '{}' END AS reported_metadata,
    0 AS waiting,
    devices.status AS device_status,
    devices.status_reason AS device_status_reason,
    devices.status_updated_at AS device_status_updated_at
FROM identities
CROSS JOIN twins ON twins.device_key = identities.device_key
CROSS JOIN identities AS devices
    ON devices.hub = identities.hub
    AND devices.device_id = identities.device_id
    AND devices.module_id = ''
WHERE
    identities.hub = ?1
    AND length(identities.module_id) > 0
    AND identities.device_key > ?2
ORDER BY identities.device_key
LIMIT ?3
