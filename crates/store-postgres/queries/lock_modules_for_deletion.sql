SELECT * FROM identities
WHERE hub = $1 AND device_id = $2 AND module_id <> ''
ORDER BY module_id
FOR UPDATE
