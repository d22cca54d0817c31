-- Keeps the sweep from looking at messages again before $3. By message: $1 device, $2 sequence.
UPDATE messages
SET due_at = $3::bigint
FROM unnest($1::bigint[], $2::bigint[]) AS item (device_key, sequence)
WHERE messages.device_key = ANY (ARRAY[item.device_key]) AND messages.sequence = item.sequence
