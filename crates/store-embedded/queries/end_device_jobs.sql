-- Writes outcomes of identities that were begun.
UPDATE device_jobs SET state = outcome.column3, updated_at = outcome.column4,
    ended_at = outcome.column4, answer_status = outcome.column5, answer_payload = outcome.column6,
    error_code = outcome.column7, error_text = outcome.column8
FROM (VALUES /*rows*/ (?, ?, ?, ?, ?, ?, ?, ?)) AS outcome
WHERE device_jobs.job_key = outcome.column1 AND device_jobs.device_key = outcome.column2
    AND device_jobs.state = 'running'
