-- Each step finds the next gateway by the index; the connections between are not read.
WITH RECURSIVE held AS (
    (
        SELECT connected_gateway
        FROM identities
        WHERE is_connected AND connected_gateway > ''
        ORDER BY connected_gateway
        LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT next.connected_gateway
        FROM identities AS next
        WHERE next.is_connected AND next.connected_gateway > held.connected_gateway
        ORDER BY next.connected_gateway
        LIMIT 1
    )
    FROM held
    WHERE held.connected_gateway IS NOT NULL
)
SELECT connected_gateway
FROM held
WHERE connected_gateway IS NOT NULL
LIMIT 10000
