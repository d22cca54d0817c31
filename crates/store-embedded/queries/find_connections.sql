-- Records of connections.
WITH wanted (device_key) AS (VALUES /*rows*/ (?))
SELECT
    identities.device_key,
    identities.hub,
    identities.device_id,
    identities.module_id,
    identities.connection_epoch,
    identities.connection_turn,
    identities.is_connected,
    identities.connected_gateway,
    identities.connection_state_updated_at,
    identities.last_activity_at
FROM wanted
CROSS JOIN identities ON identities.device_key = wanted.device_key
