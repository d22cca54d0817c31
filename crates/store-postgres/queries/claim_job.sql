-- Takes the job that has been due longest and that nobody else is about to take.
UPDATE jobs SET state = 'running', epoch = epoch + 1, due_at = $2
WHERE job_key = (
    SELECT job_key FROM jobs WHERE due_at <= $1 ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING *
