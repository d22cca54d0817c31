-- `due_at` of a message without a lock is its expiry.
INSERT INTO messages (
    device_key, sequence, hub, enqueued_at, expiry, due_at, ack, message_id, properties, body
)
SELECT column1, column2, column3, column4, column5, column5, column6, column7, column8, column9
FROM (VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?))
WHERE column1 IS NOT NULL
