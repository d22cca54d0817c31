-- Each step finds the next gateway by the index; the connections between are not read.
WITH RECURSIVE held (connected_gateway) AS (
    SELECT (
        SELECT MIN(first.connected_gateway)
        FROM identities AS first
        WHERE first.is_connected AND first.connected_gateway > ''
    )
    UNION ALL
    SELECT (
        SELECT MIN(next.connected_gateway)
        FROM identities AS next
        WHERE next.is_connected AND next.connected_gateway > held.connected_gateway
    )
    FROM held
    WHERE held.connected_gateway IS NOT NULL
)
SELECT connected_gateway
FROM held
WHERE connected_gateway IS NOT NULL
LIMIT 10000
