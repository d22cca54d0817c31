UPDATE identities
SET
    generation = ?2,
    etag = ?3,
    status = ?4,
    status_reason = ?5,
    status_updated_at = ?6,
    authentication = ?7,
    primary_key = ?8,
    secondary_key = ?9,
    primary_thumbprint = ?10,
    secondary_thumbprint = ?11,
    is_edge = ?12,
    connection_state_updated_at = ?13,
    last_activity_at = ?14,
    managed_by = ?15,
    device_scope = ?16,
    parent_scopes = ?17
WHERE device_key = ?1
