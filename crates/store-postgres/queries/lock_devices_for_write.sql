-- Devices for one who writes them; those who only need them to exist go on.
SELECT * FROM identities
WHERE hub = $1 AND device_id = ANY ($2) AND module_id = ''
ORDER BY device_id
FOR NO KEY UPDATE
