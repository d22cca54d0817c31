-- Twins for one who writes them, locked in the order of their keys so that two batches never wait for
-- each other, with the identities that their change events name.
SELECT
    identities.*,
    twins.tags,
    twins.desired,
    twins.desired_metadata,
    twins.desired_version,
    twins.reported,
    twins.reported_metadata,
    twins.reported_version,
    twins.etag AS twin_etag,
    twins.version
FROM twins
JOIN identities ON identities.device_key = ANY (ARRAY[twins.device_key])
WHERE twins.device_key = ANY ($1)
ORDER BY twins.device_key
FOR NO KEY UPDATE OF twins
