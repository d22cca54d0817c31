-- What time alone has changed, longest due first; the columns of find_standings.
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
FROM messages INDEXED BY messages_by_due
LEFT JOIN identities ON identities.device_key = messages.device_key AND messages.ack <> 0
WHERE messages.due_at <= ?
ORDER BY messages.due_at, messages.device_key, messages.sequence
LIMIT ?
