SELECT * FROM identities WHERE hub = ? AND module_id = '' ORDER BY device_id LIMIT ?
