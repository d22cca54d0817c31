-- An id that is there already is skipped, which makes a repeated append harmless. Positions follow the
-- order given. The transaction has its id before the first position is drawn: the relay relies on it
-- to know which positions are decided (`relay/floors.rs`).
WITH writer AS MATERIALIZED (SELECT pg_current_xact_id() AS id)
INSERT INTO outbox (
    device_key, event_id, hub, device_id, module_id, kind, at, properties, body
)
SELECT
    item.device_key, item.event_id, item.hub, item.device_id, item.module_id, item.kind, item.at,
    item.properties, item.body
FROM writer
CROSS JOIN unnest(
    $1::bigint[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[],
    $8::text[], $9::bytea[]
) WITH ORDINALITY AS item (
    device_key, event_id, hub, device_id, module_id, kind, at, properties, body, place
)
ORDER BY item.place
ON CONFLICT (device_key, event_id) DO NOTHING
