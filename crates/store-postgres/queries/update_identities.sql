UPDATE identities
SET
    etag = item.etag,
    status = item.status,
    status_reason = item.status_reason,
    status_updated_at = item.status_updated_at,
    authentication = item.authentication,
    primary_key = item.primary_key,
    secondary_key = item.secondary_key,
    primary_thumbprint = item.primary_thumbprint,
    secondary_thumbprint = item.secondary_thumbprint,
    is_edge = item.is_edge,
    managed_by = item.managed_by,
    device_scope = item.device_scope,
    parent_scopes = item.parent_scopes
FROM unnest(
    $1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bytea[],
    $8::bytea[], $9::text[], $10::text[], $11::boolean[], $12::text[], $13::text[], $14::text[]
) AS item (
    device_key, etag, status, status_reason, status_updated_at, authentication, primary_key,
    secondary_key, primary_thumbprint, secondary_thumbprint, is_edge, managed_by, device_scope,
    parent_scopes
)
WHERE identities.device_key = ANY (ARRAY[item.device_key])
