-- The first `most` messages of each device that may be handed out, in any order: the guard of
-- `transition::receive`. One whose lock lapsed with its deliveries used up is left to the sweep.
WITH
    bounds (most) AS (VALUES (?)),
    wanted (position, device_key, now, exhausted_at) AS (VALUES /*rows*/ (?, ?, ?, ?))
SELECT
    wanted.position,
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
FROM wanted
CROSS JOIN messages
    ON messages.device_key = wanted.device_key
    AND messages.sequence IN (
        SELECT visible.sequence
        FROM messages AS visible
        WHERE
            visible.device_key = wanted.device_key
            AND visible.expiry > wanted.now
            AND (
                visible.locked_until IS NULL
                OR (
                    visible.locked_until <= wanted.now
                    AND visible.delivery_count < wanted.exhausted_at
                )
            )
        ORDER BY visible.sequence
        LIMIT (SELECT most FROM bounds)
    )
