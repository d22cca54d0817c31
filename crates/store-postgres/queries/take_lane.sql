-- Takes the first lane in turn that has events and that nobody holds, for this transaction; the lane is
-- NULL when there is none. Lanes are asked for one after the other, so no second one is taken.
-- With it, what the floors are made of (`relay/floors.rs`).
-- Parameters: lanes in turn, their floors, class of the advisory lock, how long the holder may be idle.
SELECT
    (
        SELECT waiting.lane
        FROM (
            SELECT turn.lane
            FROM unnest($1::integer[], $2::bigint[]) WITH ORDINALITY AS turn (lane, floor, place)
            WHERE (
                SELECT outbox.position FROM outbox
                WHERE outbox.lane = turn.lane AND outbox.position >= turn.floor
                ORDER BY outbox.position
                LIMIT 1
            ) IS NOT NULL
            ORDER BY turn.place
            OFFSET 0
        ) AS waiting
        WHERE pg_try_advisory_xact_lock($3, waiting.lane)
        LIMIT 1
    ) AS lane,
    CASE WHEN outbox_positions.is_called THEN outbox_positions.last_value ELSE 0 END AS drawn,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS over_below,
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS server,
    set_config('idle_in_transaction_session_timeout', $4, true) AS idle_limit
FROM outbox_positions
