-- How far a job is, and how many of its hub run.
SELECT job.job_key, job.pending_count, job.running_count,
    (SELECT count(*) FROM jobs WHERE hub = job.hub AND state = 'running' AND ended_at IS NULL)
        AS running_jobs
FROM jobs AS job
WHERE job.job_key = $1
