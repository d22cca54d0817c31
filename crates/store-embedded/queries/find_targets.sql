-- Whom messages are for, and how full their queues are. A missing row is an unknown device.
-- `stored` is what the writer remembers to be there, expired messages that were not swept
-- included, or NULL. Of a short queue the waiting messages are counted; of a deep one those that
-- are due are taken off, which are few as long as sweeps go on.
WITH
    wanted (position, hub, device_id, now, stored) AS (VALUES /*rows*/ (?, ?, ?, ?, ?)),
    found (position, now, device_key, status, stored) AS MATERIALIZED (
        SELECT
            wanted.position,
            wanted.now,
            identities.device_key,
            identities.status,
            COALESCE(
                wanted.stored,
                (
                    SELECT COUNT(*) FROM messages
                    WHERE messages.device_key = identities.device_key
                )
            )
        FROM wanted
        CROSS JOIN identities
            ON identities.hub = wanted.hub
            AND identities.device_id = wanted.device_id
            AND identities.module_id = ''
    )
SELECT
    found.position,
    found.device_key,
    found.status,
    found.stored,
    CASE
        WHEN found.stored <= 1000
            THEN (
                SELECT COUNT(*) FROM messages
                WHERE messages.device_key = found.device_key AND messages.expiry > found.now
            )
        ELSE found.stored - (
            SELECT COUNT(*) FROM messages AS due INDEXED BY messages_by_due
            WHERE
                due.due_at <= found.now
                AND due.device_key = found.device_key
                AND due.expiry <= found.now
        )
    END AS waiting
FROM found
