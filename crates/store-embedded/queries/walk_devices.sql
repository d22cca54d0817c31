-- Devices of a hub, in the order of their keys; parts that nobody reads are empty.
-- ?1 hub, ?2 after, ?3 most, ?4 to ?9 whether tags, desired, reported, configurations and the
-- metadata of desired and reported are read, ?10 now.
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
    CASE WHEN ?10 IS NOT NULL THEN (
        SELECT COUNT(*) FROM messages
        WHERE messages.device_key = identities.device_key AND messages.expiry > ?10
    ) END AS waiting
FROM identities
CROSS JOIN twins ON twins.device_key = identities.device_key
WHERE
    identities.hub = ?1
    AND length(identities.module_id) = 0
    AND identities.device_key > ?2
ORDER BY identities.device_key
LIMIT ?3
