-- Whom messages are for, and how full their queues are. A missing row is an unknown device.
WITH wanted (position, hub, device_id, now) AS (VALUES /*rows*/ (?, ?, ?, ?))
SELECT
    wanted.position,
    identities.device_key,
    identities.status,
    (
        SELECT COUNT(*) FROM messages WHERE messages.device_key = identities.device_key
    ) AS stored,
    (
        SELECT COUNT(*) FROM messages
        WHERE messages.device_key = identities.device_key AND messages.expiry > wanted.now
    ) AS waiting
FROM wanted
CROSS JOIN identities
    ON identities.hub = wanted.hub
    AND identities.device_id = wanted.device_id
    AND identities.module_id = ''
