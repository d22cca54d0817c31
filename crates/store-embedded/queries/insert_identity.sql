-- Generation and etag follow from the key, which is known only after this.
INSERT INTO identities (
    hub, device_id, module_id, generation, etag, status, status_reason, status_updated_at,
    authentication, primary_key, secondary_key, primary_thumbprint, secondary_thumbprint, is_edge,
    connection_state_updated_at, last_activity_at
)
VALUES (?, ?, ?, 0, 0, '', NULL, 0, '', NULL, NULL, NULL, NULL, 0, 0, 0)
