-- Events that wait, and when the oldest of them happened.
SELECT
    (SELECT COUNT(*) FROM outbox) AS events,
    (SELECT at FROM outbox ORDER BY position LIMIT 1) AS oldest
