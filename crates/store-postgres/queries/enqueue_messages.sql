-- Accepts messages for any number of devices, in one statement and one commit.
--
-- By device, in the order of hub and id: $1 hub, $2 device id, $3 and $4 the key and the depth that
-- the caller remembers (NULL when it does not, which lets them be counted). $5 depth allowed, $6 now.
-- By message, in the order of the call: $7 place of its device, $8 its number among the messages of
-- its device, $9 hub, $10 expiry, $11 ack, $12 message id, $13 properties, $14 body.
--
-- The identity is held FOR KEY SHARE until the commit: a deletion waits, and then removes what is
-- stored here. Room is what the depth leaves, -1 for a device that is unknown or disabled. Messages
-- get their numbers in the order of the call.
WITH
    target AS MATERIALIZED (
        SELECT
            wanted.place,
            COALESCE(identity.device_key, 0) AS device_key,
            CASE
                WHEN identity.status IS DISTINCT FROM 'enabled' THEN -1
                WHEN wanted.known_key = identity.device_key
                    THEN GREATEST($5::bigint - wanted.known_waiting, 0)
                ELSE GREATEST(
                    $5::bigint - (
                        SELECT COUNT(*)
                        FROM (
                            SELECT
                            FROM messages
                            WHERE
                                messages.device_key = identity.device_key
                                AND messages.expiry > $6::bigint
                            LIMIT $5::bigint
                        ) AS waiting
                    ),
                    0
                )
            END AS room
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
            WITH ORDINALITY AS wanted (hub, device_id, known_key, known_waiting, place)
        LEFT JOIN LATERAL (
            SELECT identities.device_key, identities.status
            FROM identities
            WHERE
                identities.hub = wanted.hub
                AND identities.device_id = wanted.device_id
                AND identities.module_id = ''
            FOR KEY SHARE
        ) AS identity ON TRUE
    ),
    rooms AS MATERIALIZED (
        SELECT
            array_agg(target.device_key ORDER BY target.place) AS device_keys,
            array_agg(target.room ORDER BY target.place) AS rooms
        FROM target
    ),
    stored AS (
        INSERT INTO messages (
            device_key, sequence, hub, enqueued_at, expiry, due_at, ack, message_id, properties, body
        )
        SELECT
            rooms.device_keys[message.target],
            nextval('message_numbers'),
            message.hub,
            $6::bigint,
            message.expiry,
            message.expiry,
            message.ack,
            message.message_id,
            message.properties,
            message.body
        FROM rooms
        CROSS JOIN unnest(
            $7::integer[], $8::bigint[], $9::text[], $10::bigint[], $11::smallint[], $12::text[],
            $13::text[], $14::bytea[]
        ) AS message (target, number, hub, expiry, ack, message_id, properties, body)
        WHERE message.number <= rooms.rooms[message.target]
        RETURNING sequence
    )
SELECT
    rooms.device_keys,
    rooms.rooms,
    (SELECT array_agg(stored.sequence ORDER BY stored.sequence) FROM stored) AS sequences
FROM rooms
