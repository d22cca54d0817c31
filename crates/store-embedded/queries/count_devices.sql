SELECT
    COUNT(*) FILTER (WHERE module_id = '') AS total,
    COUNT(*) FILTER (WHERE module_id = '' AND status = 'enabled') AS enabled,
    COUNT(*) FILTER (WHERE module_id <> '') AS modules
FROM identities
WHERE hub = ?
