-- Ends the waiting messages of one device whose senders do not hear of it: the guard of
-- `transition::purge`. $1 device, $2 now, $3 the last message that is meant.
DELETE FROM messages
WHERE
    messages.device_key = $1::bigint
    AND messages.sequence <= $3::bigint
    AND messages.expiry > $2::bigint
    AND messages.ack & 2 = 0
