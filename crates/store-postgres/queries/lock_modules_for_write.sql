-- The modules of devices that are locked already, so none is added meanwhile.
SELECT * FROM identities
WHERE hub = $1 AND device_id = ANY ($2) AND module_id <> ''
ORDER BY device_id, module_id
FOR NO KEY UPDATE
