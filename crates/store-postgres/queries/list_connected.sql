SELECT device_key, connection_epoch
FROM identities
WHERE is_connected AND connected_gateway = $1 AND device_key > $2
ORDER BY device_key
LIMIT $3
