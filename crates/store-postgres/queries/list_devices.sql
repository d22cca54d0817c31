SELECT * FROM identities WHERE hub = $1 AND module_id = '' ORDER BY device_id LIMIT $2
