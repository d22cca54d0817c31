INSERT INTO twins (
    device_key, hub, tags, desired, desired_metadata, desired_version, reported,
    reported_metadata, reported_version, etag, version
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
