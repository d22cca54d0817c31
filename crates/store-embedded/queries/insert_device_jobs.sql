-- Adds identities to a job; those that are there already stay.
INSERT INTO device_jobs (
    job_key, device_key, hub, device_id, module_id, state, created_at, updated_at
)
SELECT jobs.job_key, found.column2, jobs.hub, found.column3, found.column4, 'pending',
    found.column5, found.column5
FROM (VALUES /*rows*/ (?, ?, ?, ?, ?)) AS found
CROSS JOIN jobs ON jobs.job_key = found.column1
WHERE TRUE
ON CONFLICT (job_key, device_key) DO NOTHING
