-- Jobs after a number, of a kind and in a state if these are given.
SELECT * FROM jobs
WHERE hub = $1 AND job_key > $2 AND ($3::text IS NULL OR kind = $3)
    AND ($4::text IS NULL OR state = $4)
ORDER BY job_key
LIMIT $5
