-- Renews a claim that is still the newest; holds the job until the end of the transaction.
UPDATE jobs SET due_at = $3 WHERE job_key = $1 AND epoch = $2 AND state = 'running'
