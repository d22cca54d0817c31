-- Hands out the next messages of each device: the guard and the step of `transition::receive`.
-- A message whose lock lapsed with its deliveries used up is passed over; the sweep ends it.
--
-- By device, in the order of keys: $1 key, $2 how many, $3 how many tokens belong to the devices
-- before it. By token: $4 until when it locks; $5 all tokens one after another. $6 now, $7 the
-- delivery count at which a lapsed message is used up, $8 what a delivery adds to the count.
--
-- Rows are locked in the order of device and sequence, as everywhere; one that another transaction
-- holds is waited for and looked at again.
UPDATE messages
SET
    delivery_count = messages.delivery_count + $8::integer,
    lock_token = handed.token,
    locked_until = handed.locked_until,
    due_at = LEAST(messages.expiry, handed.locked_until)
FROM (
    SELECT
        receivable.device_key,
        receivable.sequence,
        wanted.before + receivable.number AS number,
        substr(
            $5::bytea, ((wanted.before + receivable.number - 1) * 16 + 1)::integer, 16
        ) AS token,
        ($4::bigint[])[wanted.before + receivable.number] AS locked_until
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
        AS wanted (device_key, most, before)
    CROSS JOIN LATERAL (
        SELECT locked.device_key, locked.sequence, row_number() OVER () AS number
        FROM (
            SELECT visible.device_key, visible.sequence
            FROM messages AS visible
            WHERE
                visible.device_key = wanted.device_key
                AND visible.expiry > $6::bigint
                AND (
                    visible.locked_until IS NULL
                    OR (
                        visible.locked_until <= $6::bigint
                        AND visible.delivery_count < $7::integer
                    )
                )
            ORDER BY visible.sequence
            LIMIT wanted.most
            FOR UPDATE
        ) AS locked
    ) AS receivable
) AS handed
WHERE messages.device_key = ANY (ARRAY[handed.device_key]) AND messages.sequence = handed.sequence
RETURNING
    handed.number,
    messages.device_key,
    messages.sequence,
    messages.enqueued_at,
    messages.expiry,
    messages.delivery_count,
    messages.lock_token,
    messages.locked_until,
    messages.ack,
    messages.message_id,
    messages.properties,
    messages.body
