-- What an earlier runner had begun has failed.
UPDATE device_jobs
SET state = 'failed', updated_at = $2, ended_at = $2, error_code = $3, error_text = $4
WHERE job_key = $1 AND state = 'running' AND ended_at IS NULL
