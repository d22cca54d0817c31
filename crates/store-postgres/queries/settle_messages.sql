-- Settles held messages by any verdict: the guards and steps of `transition::settle`. Answers as
-- complete_messages does.
--
-- By settlement, in the order of device and sequence: $1 device, $2 sequence, $3 token, $4 the
-- delivery count from which on the message ends, $5 the bit of `ack` that wants to hear of that
-- end, $6 what giving it back adds to the count. $7 now.
WITH
    ended AS (
        DELETE FROM messages
        USING unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::integer[], $5::smallint[])
            WITH ORDINALITY AS item (device_key, sequence, token, ends_at, reported_to, place)
        WHERE
            messages.device_key = ANY (ARRAY[item.device_key])
            AND messages.sequence = item.sequence
            AND messages.lock_token = item.token
            AND messages.locked_until > $7::bigint
            AND messages.expiry > $7::bigint
            AND messages.delivery_count >= item.ends_at
            AND messages.ack & item.reported_to = 0
        RETURNING item.place
    ),
    returned AS (
        UPDATE messages
        SET
            delivery_count = GREATEST(messages.delivery_count + item.raised_by, 0),
            lock_token = NULL,
            locked_until = NULL,
            due_at = messages.expiry
        FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::integer[], $6::integer[])
            WITH ORDINALITY AS item (device_key, sequence, token, ends_at, raised_by, place)
        WHERE
            messages.device_key = ANY (ARRAY[item.device_key])
            AND messages.sequence = item.sequence
            AND messages.lock_token = item.token
            AND messages.locked_until > $7::bigint
            AND messages.expiry > $7::bigint
            AND messages.delivery_count < item.ends_at
        RETURNING item.place
    )
SELECT
    settled.place,
    FALSE AS is_reported,
    NULL::bigint AS device_key,
    NULL::bigint AS sequence,
    NULL::bigint AS expiry,
    NULL::integer AS delivery_count,
    NULL::bytea AS lock_token,
    NULL::bigint AS locked_until,
    NULL::smallint AS ack,
    NULL::text AS message_id,
    NULL::text AS hub,
    NULL::text AS device_id,
    NULL::bigint AS generation
FROM (SELECT place FROM ended UNION ALL SELECT place FROM returned) AS settled
UNION ALL
SELECT
    item.place,
    TRUE,
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
FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::integer[], $5::smallint[])
    WITH ORDINALITY AS item (device_key, sequence, token, ends_at, reported_to, place)
INNER JOIN messages
    ON messages.device_key = ANY (ARRAY[item.device_key])
    AND messages.sequence = item.sequence
    AND messages.lock_token = item.token
    AND messages.locked_until > $7::bigint
    AND messages.expiry > $7::bigint
    AND messages.delivery_count >= item.ends_at
    AND messages.ack & item.reported_to <> 0
LEFT JOIN identities ON identities.device_key = ANY (ARRAY[item.device_key])
WHERE
    (SELECT COUNT(*) FROM ended) + (SELECT COUNT(*) FROM returned) < cardinality($1::bigint[])
