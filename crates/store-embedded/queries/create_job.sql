-- Writes a job; the last parameter is its start, or now.
INSERT INTO jobs (
    hub, job_id, kind, condition, work, state, created_at, start_at, max_execution, due_at
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
RETURNING *
