-- Writes outcomes of identities that were begun; counts how many of each there were.
WITH ended AS (
    UPDATE device_jobs SET state = outcome.state, updated_at = $2, ended_at = $2,
        answer_status = outcome.answer_status, answer_payload = outcome.answer_payload,
        error_code = outcome.error_code, error_text = outcome.error_text
    FROM unnest($3::bigint[], $4::text[], $5::integer[], $6::bytea[], $7::integer[], $8::text[])
        AS outcome (device_key, state, answer_status, answer_payload, error_code, error_text)
    WHERE job_key = $1 AND device_jobs.device_key = ANY (ARRAY[outcome.device_key])
        AND device_jobs.state = 'running' AND ended_at IS NULL
    RETURNING device_jobs.state
)
SELECT
    count(*) FILTER (WHERE state = 'completed') AS succeeded,
    count(*) FILTER (WHERE state <> 'completed') AS failed
FROM ended
