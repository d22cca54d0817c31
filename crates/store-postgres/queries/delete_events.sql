-- Removes exactly the events given. By key and not by a range of positions: an event of another device
-- whose transaction commits late may stand between two of them.
DELETE FROM outbox
USING unnest($1::bigint[], $2::bytea[]) AS sent (device_key, event_id)
WHERE outbox.device_key = ANY (ARRAY[sent.device_key]) AND outbox.event_id = sent.event_id
