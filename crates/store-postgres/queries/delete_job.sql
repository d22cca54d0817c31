DELETE FROM jobs WHERE job_key = $1
