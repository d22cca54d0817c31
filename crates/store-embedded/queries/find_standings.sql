-- Where messages stand, and what a feedback record about them says of their device.
WITH wanted (device_key, sequence) AS (VALUES /*rows*/ (?, ?))
SELECT
    messages.device_key,
    messages.sequence,
    messages.expiry,
    messages.delivery_count,
    messages.lock_token,
    messages.locked_until,
    messages.ack,
    messages.message_id,
    identities.hub,
    identities.device_id,
    identities.generation
FROM wanted
CROSS JOIN messages
    ON messages.device_key = wanted.device_key AND messages.sequence = wanted.sequence
LEFT JOIN identities ON identities.device_key = messages.device_key AND messages.ack <> 0
