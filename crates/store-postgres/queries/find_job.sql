SELECT * FROM jobs WHERE hub = $1 AND job_id = $2
