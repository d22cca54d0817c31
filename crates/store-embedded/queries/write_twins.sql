INSERT INTO twins (
    device_key, hub, tags, desired, desired_metadata, desired_version,
    reported, reported_metadata, reported_version, etag, version
)
SELECT
    column1, column2, column3, column4, column5, column6, column7, column8, column9, column10,
    column11
FROM (VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?))
WHERE column1 IS NOT NULL
ON CONFLICT (device_key) DO UPDATE SET
    tags = excluded.tags,
    desired = excluded.desired,
    desired_metadata = excluded.desired_metadata,
    desired_version = excluded.desired_version,
    reported = excluded.reported,
    reported_metadata = excluded.reported_metadata,
    reported_version = excluded.reported_version,
    etag = excluded.etag,
    version = excluded.version
