-- Ends held messages with success: the guard of `transition::complete`. Answers the places of those
-- that are ended, and, without touching them, what a report about the others must say whose senders
-- want one.
--
-- By settlement, in the order of device and sequence: $1 device, $2 sequence, $3 token. $4 now.
WITH
    ended AS (
        DELETE FROM messages
        USING unnest($1::bigint[], $2::bigint[], $3::bytea[])
            WITH ORDINALITY AS item (device_key, sequence, token, place)
        WHERE
            messages.device_key = ANY (ARRAY[item.device_key])
            AND messages.sequence = item.sequence
            AND messages.lock_token = item.token
            AND messages.locked_until > $4::bigint
            AND messages.expiry > $4::bigint
            AND messages.ack & 1 = 0
        RETURNING item.place
    )
SELECT
    ended.place,
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
FROM ended
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
FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])
    WITH ORDINALITY AS item (device_key, sequence, token, place)
INNER JOIN messages
    ON messages.device_key = ANY (ARRAY[item.device_key])
    AND messages.sequence = item.sequence
    AND messages.lock_token = item.token
    AND messages.locked_until > $4::bigint
    AND messages.expiry > $4::bigint
    AND messages.ack & 1 <> 0
LEFT JOIN identities ON identities.device_key = ANY (ARRAY[item.device_key])
-- Not looked for when nothing is left.
WHERE (SELECT COUNT(*) FROM ended) < cardinality($1::bigint[])
