-- Devices with their modules.
WITH wanted (hub, device_id) AS (VALUES /*rows*/ (?, ?))
SELECT identities.*
FROM wanted
CROSS JOIN identities
    ON identities.hub = wanted.hub
    AND identities.device_id = wanted.device_id
