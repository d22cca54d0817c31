-- Which lanes the events after a position are in, and from where to where: at most 10,000 events.
-- Parameter: the position.
SELECT device_key & 15 AS lane, MIN(position) AS first, MAX(position) AS last
FROM (SELECT position, device_key FROM outbox WHERE position > ? ORDER BY position LIMIT 10000)
GROUP BY lane
