-- What time alone has changed, longest due first, without what others are at. $1 now, $2 how many.
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
LEFT JOIN identities ON identities.device_key = ANY (ARRAY[messages.device_key])
WHERE messages.due_at <= $1::bigint
ORDER BY messages.due_at
LIMIT $2::bigint
FOR UPDATE OF messages SKIP LOCKED
