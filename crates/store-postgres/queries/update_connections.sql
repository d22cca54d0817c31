-- Writes records of connections that are locked already.
UPDATE identities
SET
    connection_epoch = item.epoch,
    connection_turn = item.turn,
    is_connected = item.is_connected,
    connected_gateway = item.gateway,
    connection_state_updated_at = item.state_updated_at,
    last_activity_at = item.active_at
FROM unnest(
    $1::bigint[], $2::bigint[], $3::integer[], $4::boolean[], $5::text[], $6::bigint[], $7::bigint[]
) AS item (device_key, epoch, turn, is_connected, gateway, state_updated_at, active_at)
WHERE identities.device_key = ANY (ARRAY[item.device_key])
