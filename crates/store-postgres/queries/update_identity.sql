UPDATE identities
SET
    etag = $2,
    status = $3,
    status_reason = $4,
    status_updated_at = $5,
    authentication = $6,
    primary_key = $7,
    secondary_key = $8,
    primary_thumbprint = $9,
    secondary_thumbprint = $10,
    is_edge = $11,
    managed_by = $12,
    device_scope = $13,
    parent_scopes = $14
WHERE device_key = $1
