WITH wanted (position, device_key) AS (VALUES /*rows*/ (?, ?))
SELECT wanted.position, twins.*
FROM wanted
CROSS JOIN twins ON twins.device_key = wanted.device_key
