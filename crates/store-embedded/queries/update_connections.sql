-- Writes records of connections.
UPDATE identities
SET
    connection_epoch = item.epoch,
    connection_turn = item.turn,
    is_connected = item.is_connected,
    connected_gateway = item.gateway,
    connection_state_updated_at = item.state_updated_at,
    last_activity_at = item.active_at
FROM (
    SELECT
        column1 AS device_key,
        column2 AS epoch,
        column3 AS turn,
        column4 AS is_connected,
        column5 AS gateway,
        column6 AS state_updated_at,
        column7 AS active_at
    FROM (VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?))
) AS item
WHERE identities.device_key = item.device_key
