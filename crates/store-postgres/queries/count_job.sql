-- Moves the counts of a job by these numbers.
UPDATE jobs SET pending_count = pending_count + $2, running_count = running_count + $3,
    succeeded_count = succeeded_count + $4, failed_count = failed_count + $5
WHERE job_key = $1
RETURNING *
