-- Records of connections for one who writes them, locked in the order of their keys so that two
-- batches never wait for each other.
SELECT
    device_key,
    hub,
    device_id,
    module_id,
    connection_epoch,
    connection_turn,
    is_connected,
    connected_gateway,
    connection_state_updated_at,
    last_activity_at
FROM identities
WHERE device_key = ANY ($1)
ORDER BY device_key
FOR NO KEY UPDATE
