-- The identity for one who writes it; those who only need it to exist go on.
SELECT * FROM identities
WHERE hub = $1 AND device_id = $2 AND module_id = $3
FOR NO KEY UPDATE
