INSERT INTO feedback (
    hub, record, device_key, device_id, generation, message_id, at, status, expiry
)
SELECT column1, column2, column3, column4, column5, column6, column7, column8, column9
FROM (VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?, ?))
WHERE column1 IS NOT NULL
