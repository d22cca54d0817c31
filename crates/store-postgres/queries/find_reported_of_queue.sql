-- The first $4 of the waiting messages of one device whose senders hear of a purge. $1 device,
-- $2 now, $3 the last message that is meant.
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
WHERE
    messages.device_key = $1::bigint
    AND messages.sequence <= $3::bigint
    AND messages.expiry > $2::bigint
    AND messages.ack & 2 <> 0
ORDER BY messages.sequence
LIMIT $4::bigint
FOR UPDATE OF messages
