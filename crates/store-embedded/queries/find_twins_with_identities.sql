-- Twins and the identities that their change events name.
WITH wanted (device_key) AS (VALUES /*rows*/ (?))
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
FROM wanted
CROSS JOIN twins ON twins.device_key = wanted.device_key
CROSS JOIN identities ON identities.device_key = twins.device_key
