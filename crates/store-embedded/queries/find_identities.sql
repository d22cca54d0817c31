-- Identities by name.
WITH wanted (position, hub, device_id, module_id) AS (VALUES /*rows*/ (?, ?, ?, ?))
SELECT wanted.position, identities.*
FROM wanted
CROSS JOIN identities
    ON identities.hub = wanted.hub
    AND identities.device_id = wanted.device_id
    AND identities.module_id = wanted.module_id
