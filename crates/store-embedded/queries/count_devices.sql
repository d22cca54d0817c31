SELECT COUNT(*) AS total, COUNT(*) FILTER (WHERE status = 'enabled') AS enabled
FROM identities
WHERE hub = ? AND module_id = ''
