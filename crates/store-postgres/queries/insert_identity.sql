-- Waits for another who is creating the same name; nothing is inserted when that one commits.
INSERT INTO identities (
    device_key, hub, device_id, module_id, generation, etag, status, status_reason,
    status_updated_at, authentication, primary_key, secondary_key, primary_thumbprint,
    secondary_thumbprint, is_edge, connection_state_updated_at, last_activity_at,
    managed_by, device_scope, parent_scopes
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
    $18, $19, $20)
ON CONFLICT (hub, device_id, module_id) DO NOTHING
