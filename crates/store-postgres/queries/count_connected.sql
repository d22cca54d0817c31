SELECT count(*)
FROM identities
WHERE is_connected AND connected_gateway = ANY ($1) AND hub = $2 AND module_id = ''
