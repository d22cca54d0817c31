DELETE FROM device_jobs WHERE job_key = $1 AND device_key = ANY (ARRAY(
    SELECT device_key FROM device_jobs WHERE job_key = $1 ORDER BY device_key LIMIT $2
))
