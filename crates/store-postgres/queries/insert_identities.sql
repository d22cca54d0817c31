-- Waits for another who is creating one of the names; that row is not inserted when that one
-- commits. Names come in order, so two who create the same ones do not wait for each other.
INSERT INTO identities (
    device_key, hub, device_id, module_id, generation, etag, status, status_reason,
    status_updated_at, authentication, primary_key, secondary_key, primary_thumbprint,
    secondary_thumbprint, is_edge, connection_state_updated_at, last_activity_at,
    managed_by, device_scope, parent_scopes
)
SELECT
    item.device_key, $1, item.device_id, item.module_id, item.generation, item.etag, item.status,
    item.status_reason, item.status_updated_at, item.authentication, item.primary_key,
    item.secondary_key, item.primary_thumbprint, item.secondary_thumbprint, item.is_edge,
    item.connection_state_updated_at, item.last_activity_at, item.managed_by, item.device_scope,
    item.parent_scopes
FROM unnest(
    $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[],
    $9::bigint[], $10::text[], $11::bytea[], $12::bytea[], $13::text[], $14::text[],
    $15::boolean[], $16::bigint[], $17::bigint[], $18::text[], $19::text[], $20::text[]
) AS item (
    device_key, device_id, module_id, generation, etag, status, status_reason, status_updated_at,
    authentication, primary_key, secondary_key, primary_thumbprint, secondary_thumbprint, is_edge,
    connection_state_updated_at, last_activity_at, managed_by, device_scope, parent_scopes
)
ON CONFLICT (hub, device_id, module_id) DO NOTHING
RETURNING device_key
