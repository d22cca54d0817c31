SELECT
    count(*) FILTER (WHERE module_id = '') AS total,
    count(*) FILTER (WHERE module_id = '' AND status = 'enabled') AS enabled,
    count(*) FILTER (WHERE module_id <> '') AS modules
FROM identities
WHERE hub = $1
