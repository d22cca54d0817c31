-- Gives back messages that were read before and are locked by this transaction. By message: $1
-- device, $2 sequence, $3 delivery count.
UPDATE messages
SET
    delivery_count = item.delivery_count,
    lock_token = NULL,
    locked_until = NULL,
    due_at = messages.expiry
FROM unnest($1::bigint[], $2::bigint[], $3::integer[])
    AS item (device_key, sequence, delivery_count)
WHERE messages.device_key = ANY (ARRAY[item.device_key]) AND messages.sequence = item.sequence
