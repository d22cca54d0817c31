-- Jobs that update twins or call methods of many identities, and what became of each.

-- Jobs, until they have been over for as long as they are remembered.
CREATE TABLE jobs (
    -- Order of creation; never used again.
    job_key INTEGER PRIMARY KEY AUTOINCREMENT,
    hub TEXT NOT NULL,
    -- Name in the hub.
    job_id TEXT NOT NULL,
    -- What it does, as on the wire.
    kind TEXT NOT NULL,
    -- For whom, as it was written.
    condition TEXT NOT NULL,
    -- What it does to each, as JSON.
    work TEXT NOT NULL,
    -- Where it stands, as on the wire.
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    start_at INTEGER NOT NULL,
    -- Milliseconds it may run after its start.
    max_execution INTEGER NOT NULL,
    ended_at INTEGER,
    -- Why it failed.
    failure TEXT,
    -- Identities that are found; the sum of the four counts after it.
    device_count INTEGER NOT NULL DEFAULT 0,
    pending_count INTEGER NOT NULL DEFAULT 0,
    running_count INTEGER NOT NULL DEFAULT 0,
    succeeded_count INTEGER NOT NULL DEFAULT 0,
    failed_count INTEGER NOT NULL DEFAULT 0,
    -- Whether all of them are found.
    is_targeted INTEGER NOT NULL DEFAULT 0,
    -- Key of the last identity that was looked at.
    found_up_to INTEGER,
    -- Rises with every claim; writes of earlier claims are refused.
    epoch INTEGER NOT NULL DEFAULT 0,
    -- When anybody may claim it: its start, or the end of the claim there is; NULL once it is over.
    due_at INTEGER,
    UNIQUE (hub, job_id),
    CHECK ((ended_at IS NULL) = (due_at IS NOT NULL))
) STRICT;
CREATE INDEX jobs_by_due ON jobs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_active ON jobs (hub, state) WHERE ended_at IS NULL;
CREATE INDEX jobs_in_order ON jobs (hub, job_key);
CREATE INDEX jobs_ended ON jobs (ended_at) WHERE ended_at IS NOT NULL;

-- Identities of jobs; they stay when the identity goes.
CREATE TABLE device_jobs (
    job_key INTEGER NOT NULL,
    device_key INTEGER NOT NULL,
    hub TEXT NOT NULL,
    device_id TEXT NOT NULL,
    -- '' for a device.
    module_id TEXT NOT NULL,
    -- Where the job stands with it, as on the wire.
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    -- What a method answered; NULL without an answer.
    answer_status INTEGER,
    -- JSON text of the answer, empty when there was none.
    answer_payload BLOB,
    -- Number of the catalogue when it failed.
    error_code INTEGER,
    error_text TEXT,
    PRIMARY KEY (job_key, device_key)
) WITHOUT ROWID, STRICT;
CREATE INDEX device_jobs_open ON device_jobs (job_key, state, device_key) WHERE ended_at IS NULL;
CREATE INDEX device_jobs_in_order ON device_jobs (hub, job_key, device_key);
