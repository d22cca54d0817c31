-- Jobs that update twins or call methods of many identities, and what became of each.

CREATE TABLE jobs (
    job_key bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    hub text NOT NULL,
    job_id text NOT NULL,
    kind text NOT NULL,
    condition text NOT NULL,
    work text NOT NULL,
    state text NOT NULL,
    created_at bigint NOT NULL,
    start_at bigint NOT NULL,
    max_execution bigint NOT NULL,
    ended_at bigint,
    failure text,
    device_count bigint NOT NULL DEFAULT 0,
    pending_count bigint NOT NULL DEFAULT 0,
    running_count bigint NOT NULL DEFAULT 0,
    succeeded_count bigint NOT NULL DEFAULT 0,
    failed_count bigint NOT NULL DEFAULT 0,
    is_targeted boolean NOT NULL DEFAULT FALSE,
    found_up_to bigint,
    epoch bigint NOT NULL DEFAULT 0,
    due_at bigint,
    PRIMARY KEY (hub, job_key),
    UNIQUE (hub, job_id),
    CHECK ((ended_at IS NULL) = (due_at IS NOT NULL))
);
COMMENT ON TABLE jobs IS 'Jobs, until they have been over for as long as they are remembered.';
COMMENT ON COLUMN jobs.job_key IS 'Order of creation; never used again.';
COMMENT ON COLUMN jobs.hub IS 'The tenant.';
COMMENT ON COLUMN jobs.job_id IS 'Name in the hub.';
COMMENT ON COLUMN jobs.kind IS 'What it does, as on the wire.';
COMMENT ON COLUMN jobs.condition IS 'For whom, as it was written.';
COMMENT ON COLUMN jobs.work IS 'What it does to each, as JSON.';
COMMENT ON COLUMN jobs.state IS 'Where it stands, as on the wire.';
COMMENT ON COLUMN jobs.created_at IS 'When it was created.';
COMMENT ON COLUMN jobs.start_at IS 'When it is to begin.';
COMMENT ON COLUMN jobs.max_execution IS 'Milliseconds it may run after its start.';
COMMENT ON COLUMN jobs.ended_at IS 'When it was over; NULL before.';
COMMENT ON COLUMN jobs.failure IS 'Why it failed.';
COMMENT ON COLUMN jobs.device_count IS 'Identities that are found; the sum of the four counts after it.';
COMMENT ON COLUMN jobs.pending_count IS 'Those that wait.';
COMMENT ON COLUMN jobs.running_count IS 'Those that were begun.';
COMMENT ON COLUMN jobs.succeeded_count IS 'Those that ended well.';
COMMENT ON COLUMN jobs.failed_count IS 'Those that did not.';
COMMENT ON COLUMN jobs.is_targeted IS 'Whether all of them are found.';
COMMENT ON COLUMN jobs.found_up_to IS 'Key of the last identity that was looked at.';
COMMENT ON COLUMN jobs.epoch IS 'Rises with every claim; writes of earlier claims are refused.';
COMMENT ON COLUMN jobs.due_at IS 'When anybody may claim it: its start, or the end of the claim there is; NULL once it is over.';
CREATE INDEX jobs_by_due ON jobs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_active ON jobs (hub, state) WHERE ended_at IS NULL;
CREATE INDEX jobs_by_key ON jobs (job_key);
CREATE INDEX jobs_ended ON jobs (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE device_jobs (
    job_key bigint NOT NULL,
    device_key bigint NOT NULL,
    hub text NOT NULL,
    device_id text NOT NULL,
    module_id text NOT NULL,
    state text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    started_at bigint,
    ended_at bigint,
    answer_status integer,
    answer_payload bytea,
    error_code integer,
    error_text text,
    PRIMARY KEY (device_key, job_key)
);
COMMENT ON TABLE device_jobs IS 'Identities of jobs; they stay when the identity goes.';
COMMENT ON COLUMN device_jobs.job_key IS 'Of which job.';
COMMENT ON COLUMN device_jobs.device_key IS 'Whose row.';
COMMENT ON COLUMN device_jobs.hub IS 'The tenant.';
COMMENT ON COLUMN device_jobs.device_id IS 'Name of the device.';
COMMENT ON COLUMN device_jobs.module_id IS 'Empty for a device.';
COMMENT ON COLUMN device_jobs.state IS 'Where the job stands with it, as on the wire.';
COMMENT ON COLUMN device_jobs.created_at IS 'When it was found.';
COMMENT ON COLUMN device_jobs.updated_at IS 'When its state changed.';
COMMENT ON COLUMN device_jobs.started_at IS 'When it was begun; NULL before.';
COMMENT ON COLUMN device_jobs.ended_at IS 'When it was over; NULL before.';
COMMENT ON COLUMN device_jobs.answer_status IS 'What a method answered; NULL without an answer.';
COMMENT ON COLUMN device_jobs.answer_payload IS 'JSON text of the answer, empty when there was none.';
COMMENT ON COLUMN device_jobs.error_code IS 'Number of the catalogue when it failed.';
COMMENT ON COLUMN device_jobs.error_text IS 'What was said of the failure.';
CREATE INDEX device_jobs_open ON device_jobs (job_key, state, device_key) WHERE ended_at IS NULL;
CREATE INDEX device_jobs_in_order ON device_jobs (hub, job_key, device_key);
CREATE INDEX device_jobs_by_job ON device_jobs (job_key, device_key);
