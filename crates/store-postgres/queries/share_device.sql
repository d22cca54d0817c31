-- A device that stays while its module is created: a deletion takes the row for itself first.
SELECT device_key FROM identities
WHERE hub = $1 AND device_id = $2 AND module_id = ''
FOR KEY SHARE
