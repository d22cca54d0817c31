-- New identities, and old ones by their keys, of which the name and what others write stays.
INSERT INTO identities (
    device_key, hub, device_id, module_id, generation, etag, status, status_reason,
    status_updated_at, authentication, primary_key, secondary_key, primary_thumbprint,
    secondary_thumbprint, is_edge, connection_state_updated_at, last_activity_at, managed_by,
    device_scope, parent_scopes
)
SELECT
    column1, column2, column3, column4, column5, column6, column7, column8, column9, column10,
    column11, column12, column13, column14, column15, column16, column17, column18, column19,
    column20
FROM (
    VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
)
WHERE column1 IS NOT NULL
ON CONFLICT (device_key) DO UPDATE SET
    etag = excluded.etag,
    status = excluded.status,
    status_reason = excluded.status_reason,
    status_updated_at = excluded.status_updated_at,
    authentication = excluded.authentication,
    primary_key = excluded.primary_key,
    secondary_key = excluded.secondary_key,
    primary_thumbprint = excluded.primary_thumbprint,
    secondary_thumbprint = excluded.secondary_thumbprint,
    is_edge = excluded.is_edge,
    managed_by = excluded.managed_by,
    device_scope = excluded.device_scope,
    parent_scopes = excluded.parent_scopes
