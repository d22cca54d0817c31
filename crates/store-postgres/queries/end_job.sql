-- Ends a job.
UPDATE jobs SET state = $3, failure = $4, ended_at = $5, due_at = NULL
WHERE job_key = $1 AND epoch = $2 AND state = 'running'
