-- What an earlier runner had begun waits again.
UPDATE device_jobs SET state = 'pending', started_at = NULL, updated_at = $2
WHERE job_key = $1 AND state = 'running' AND ended_at IS NULL
