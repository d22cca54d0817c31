-- Messages waiting, held or not. $1 devices, $2 now.
SELECT
    wanted.place,
    (
        SELECT COUNT(*)
        FROM messages
        WHERE messages.device_key = wanted.device_key AND messages.expiry > $2::bigint
    ) AS waiting
FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (device_key, place)
