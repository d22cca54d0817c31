-- Writes a job; the last parameter is its start, or now.
INSERT INTO jobs (
    hub, job_id, kind, condition, work, state, created_at, start_at, max_execution, due_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
RETURNING *
