-- Ends messages that were read before, each only if it still stands as it was read: a lock's token
-- and the delivery count tell one standing of a message from any other. What goes with it is
-- written by the same statement: the record for the feedback queue and the event for the outbox.
--
-- By message, in the order of device and sequence: $1 device, $2 sequence, $3 token, $4 delivery
-- count; of its report, $5 place among the reports (NULL: no report), $6 hub, $7 device id,
-- $8 generation, $9 message id, $10 status, $11 the event's id, $12 its properties, $13 its body.
-- Of all reports, $14 when, $15 when they end, $16 the kind of the events.
WITH
    ended AS (
        DELETE FROM messages
        USING unnest(
            $1::bigint[], $2::bigint[], $3::bytea[], $4::integer[], $5::integer[], $6::text[],
            $7::text[], $8::bigint[], $9::text[], $10::text[], $11::bytea[], $12::text[],
            $13::bytea[]
        ) WITH ORDINALITY AS item (
            device_key, sequence, token, delivery_count, report, hub, device_id, generation,
            message_id, status, event_id, properties, body, place
        )
        WHERE
            messages.device_key = ANY (ARRAY[item.device_key])
            AND messages.sequence = item.sequence
            AND messages.lock_token IS NOT DISTINCT FROM item.token
            AND messages.delivery_count = item.delivery_count
        RETURNING item.*
    ),
    recorded AS (
        INSERT INTO feedback (
            hub, record, device_key, device_id, generation, message_id, at, status, expiry
        )
        SELECT
            reported.hub,
            nextval('message_numbers'),
            reported.device_key,
            reported.device_id,
            reported.generation,
            reported.message_id,
            $14::bigint,
            reported.status,
            $15::bigint
        FROM (SELECT * FROM ended WHERE report IS NOT NULL ORDER BY report) AS reported
    ),
    announced AS (
        INSERT INTO outbox (
            device_key, event_id, hub, device_id, module_id, kind, at, properties, body
        )
        SELECT
            reported.device_key,
            reported.event_id,
            reported.hub,
            reported.device_id,
            '',
            $16::text,
            $14::bigint,
            reported.properties,
            reported.body
        FROM (SELECT * FROM ended WHERE report IS NOT NULL ORDER BY report) AS reported
        ON CONFLICT (device_key, event_id) DO NOTHING
    )
SELECT ended.place FROM ended
