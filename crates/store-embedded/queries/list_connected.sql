SELECT device_key, connection_epoch
FROM identities
WHERE is_connected AND connected_gateway = ? AND device_key > ?
ORDER BY device_key
LIMIT ?
