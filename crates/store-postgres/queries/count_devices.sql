SELECT count(*) AS total, count(*) FILTER (WHERE status = 'enabled') AS enabled
FROM identities
WHERE hub = $1 AND module_id = ''
