-- Identities of the jobs of a hub, or of one job, after a place.
SELECT device_jobs.*, jobs.job_id, jobs.kind
FROM device_jobs
JOIN jobs ON jobs.job_key = ANY (ARRAY[device_jobs.job_key])
WHERE device_jobs.hub = $1 AND (device_jobs.job_key, device_jobs.device_key) > ($2, $3)
    AND device_jobs.job_key <= $4
ORDER BY device_jobs.job_key, device_jobs.device_key
LIMIT $5
