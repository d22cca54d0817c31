-- Begins with the next identities of a job, which its runner holds.
UPDATE device_jobs SET state = 'running', started_at = $3, updated_at = $3
WHERE job_key = $1 AND device_key = ANY (ARRAY(
    SELECT device_key FROM device_jobs
    WHERE job_key = $1 AND state = 'pending' AND ended_at IS NULL
    ORDER BY device_key
    LIMIT $2
))
RETURNING device_key, device_id, module_id
