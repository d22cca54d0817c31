UPDATE twins
SET
    tags = item.tags,
    desired = item.desired,
    desired_metadata = item.desired_metadata,
    desired_version = item.desired_version,
    reported = item.reported,
    reported_metadata = item.reported_metadata,
    reported_version = item.reported_version,
    etag = item.etag,
    version = item.version
FROM unnest(
    $1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
    $8::bigint[], $9::bigint[], $10::bigint[]
) AS item (
    device_key, tags, desired, desired_metadata, desired_version, reported, reported_metadata,
    reported_version, etag, version
)
WHERE twins.device_key = ANY (ARRAY[item.device_key])
