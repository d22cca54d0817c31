SELECT COUNT(*) AS count
FROM identities
WHERE is_connected AND connected_gateway > '' AND hub = ? AND module_id = ''
