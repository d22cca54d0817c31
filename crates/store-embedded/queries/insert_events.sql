-- An id that is there already is skipped, which makes a repeated append harmless.
INSERT INTO outbox (
    hub, event_id, device_key, device_id, module_id, kind, at, properties, body
)
SELECT column1, column2, column3, column4, column5, column6, column7, column8, column9
FROM (VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?))
WHERE column1 IS NOT NULL
ON CONFLICT (hub, event_id) DO NOTHING
