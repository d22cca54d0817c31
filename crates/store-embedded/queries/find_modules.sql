SELECT * FROM identities WHERE hub = ? AND device_id = ? AND module_id <> '' ORDER BY module_id
