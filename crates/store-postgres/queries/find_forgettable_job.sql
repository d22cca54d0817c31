-- The job that ended first, if it was early enough; held until the end of the transaction.
SELECT job_key FROM jobs WHERE ended_at < $1 ORDER BY ended_at LIMIT 1 FOR UPDATE SKIP LOCKED
