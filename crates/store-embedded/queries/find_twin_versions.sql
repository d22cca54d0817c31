WITH wanted (position, device_key) AS (VALUES /*rows*/ (?, ?))
SELECT wanted.position, twins.device_key, twins.version
FROM wanted
CROSS JOIN twins ON twins.device_key = wanted.device_key
