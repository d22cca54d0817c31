-- Adds identities to a job; those that are there already stay.
INSERT INTO device_jobs (
    job_key, device_key, hub, device_id, module_id, state, created_at, updated_at
)
SELECT
    jobs.job_key, found.device_key, jobs.hub, found.device_id, found.module_id, 'pending', $2, $2
FROM jobs
CROSS JOIN unnest($3::bigint[], $4::text[], $5::text[])
    AS found (device_key, device_id, module_id)
WHERE jobs.job_key = $1
ON CONFLICT (job_key, device_key) DO NOTHING
