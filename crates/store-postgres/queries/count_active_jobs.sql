-- Jobs of a hub that have not ended.
SELECT count(*) AS active FROM jobs WHERE hub = $1 AND ended_at IS NULL
