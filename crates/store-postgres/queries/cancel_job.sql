-- Ends a job that has not begun.
UPDATE jobs SET state = 'cancelled', ended_at = $3, due_at = NULL
WHERE hub = $1 AND job_id = $2 AND state IN ('queued', 'scheduled')
RETURNING *
