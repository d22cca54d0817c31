-- The waiting messages of one device whose senders hear of a purge; the columns of find_standings.
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
FROM messages
INNER JOIN identities ON identities.device_key = messages.device_key
WHERE messages.device_key = ? AND messages.expiry > ? AND messages.ack IN (2, 3)
ORDER BY messages.sequence
