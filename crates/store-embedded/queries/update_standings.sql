-- Writes the standing that a transition decided on. Without a lock, `due_at` is the expiry.
UPDATE messages
SET
    delivery_count = item.delivery_count,
    lock_token = item.lock_token,
    locked_until = item.locked_until,
    due_at = MIN(messages.expiry, COALESCE(item.locked_until, messages.expiry))
FROM (
    SELECT
        column1 AS device_key,
        column2 AS sequence,
        column3 AS delivery_count,
        column4 AS lock_token,
        column5 AS locked_until
    FROM (VALUES /*rows*/ (?, ?, ?, ?, ?))
) AS item
WHERE messages.device_key = item.device_key AND messages.sequence = item.sequence
