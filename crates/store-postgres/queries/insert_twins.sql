INSERT INTO twins (
    device_key, hub, tags, desired, desired_metadata, desired_version, reported,
    reported_metadata, reported_version, etag, version
)
SELECT
    item.device_key, $1, item.tags, item.desired, item.desired_metadata, item.desired_version,
    item.reported, item.reported_metadata, item.reported_version, item.etag, item.version
FROM unnest(
    $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[],
    $9::bigint[], $10::bigint[], $11::bigint[]
) AS item (
    device_key, tags, desired, desired_metadata, desired_version, reported, reported_metadata,
    reported_version, etag, version
)
