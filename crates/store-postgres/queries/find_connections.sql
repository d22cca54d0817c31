-- Records of connections, for one who looks whether there is anything to write.
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
