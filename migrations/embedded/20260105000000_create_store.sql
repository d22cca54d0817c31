-- The store of a hub on one file.
--
-- Instants are milliseconds since the Unix epoch, UTC. The store never reads a clock: every `now`
-- is a parameter. Every table carries the hub, the tenant named by its host name, and, where a row
-- belongs to an identity, the key of that identity's life; keys are never used twice, so nothing
-- of one life reaches the next. There are no foreign keys: an identity is deleted with all that is
-- its own in one transaction, and feedback and events outlive it on purpose.

-- Numbers that only rise. Blocks are reserved ahead, so a restart leaves gaps.
CREATE TABLE counters (
    -- What is counted: 'sequence' numbers messages and feedback records.
    name TEXT NOT NULL PRIMARY KEY,
    -- Every number up to this one may have been given away.
    reserved INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

INSERT INTO counters (name, reserved) VALUES ('sequence', 0);

-- The tenants.
CREATE TABLE hubs (
    -- Host name, in lower case.
    hub TEXT NOT NULL PRIMARY KEY,
    -- When it was created.
    created_at INTEGER NOT NULL
) STRICT;

-- Shared access policies.
CREATE TABLE policies (
    hub TEXT NOT NULL,
    -- Place in the list they were given in.
    position INTEGER NOT NULL,
    -- Name, as in `SharedAccessKeyName`.
    name TEXT NOT NULL,
    -- Primary and secondary key, raw.
    primary_key BLOB NOT NULL,
    secondary_key BLOB NOT NULL,
    -- Rights, one bit each, as `Permissions::bits` numbers them.
    permissions INTEGER NOT NULL,
    PRIMARY KEY (hub, position),
    UNIQUE (hub, name)
) WITHOUT ROWID, STRICT;

-- Devices and modules.
CREATE TABLE identities (
    -- Key of this life of the identity; AUTOINCREMENT never gives one again.
    device_key INTEGER PRIMARY KEY AUTOINCREMENT,
    hub TEXT NOT NULL,
    device_id TEXT NOT NULL,
    -- '' for the device itself: NULLs would all be distinct to the unique constraint.
    module_id TEXT NOT NULL DEFAULT '',
    -- Tells this life from others of the same name; .NET ticks.
    generation INTEGER NOT NULL,
    -- Rises by one with every write of the identity.
    etag INTEGER NOT NULL,
    -- 'enabled' or 'disabled'.
    status TEXT NOT NULL,
    status_reason TEXT,
    status_updated_at INTEGER NOT NULL,
    -- 'sas', 'selfSigned' or 'certificateAuthority'; decides which of the next four are set.
    authentication TEXT NOT NULL,
    primary_key BLOB,
    secondary_key BLOB,
    primary_thumbprint TEXT,
    secondary_thumbprint TEXT,
    -- 1 for an Edge gateway.
    is_edge INTEGER NOT NULL,
    connection_state_updated_at INTEGER NOT NULL,
    last_activity_at INTEGER NOT NULL,
    UNIQUE (hub, device_id, module_id)
) STRICT;

-- One twin for each identity. Sections are JSON text, written as they are read: numbers keep
-- their spelling.
CREATE TABLE twins (
    device_key INTEGER NOT NULL PRIMARY KEY,
    hub TEXT NOT NULL,
    tags TEXT NOT NULL,
    desired TEXT NOT NULL,
    desired_metadata TEXT NOT NULL,
    desired_version INTEGER NOT NULL,
    reported TEXT NOT NULL,
    reported_metadata TEXT NOT NULL,
    reported_version INTEGER NOT NULL,
    -- The number inside the etag.
    etag INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;

-- MQTT sessions that outlive their connections, opaque.
CREATE TABLE sessions (
    device_key INTEGER NOT NULL PRIMARY KEY,
    hub TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- Cloud-to-device messages that have not ended; those that have are gone. The states are those of
-- `downlink_domain::message::MessageState`: Enqueued without a lock, Invisible with one.
CREATE TABLE messages (
    device_key INTEGER NOT NULL,
    -- Place in the queue; rises over the whole store, so in each queue too.
    sequence INTEGER NOT NULL,
    hub TEXT NOT NULL,
    enqueued_at INTEGER NOT NULL,
    -- When it ends by itself.
    expiry INTEGER NOT NULL,
    -- When time alone changes where it stands: the lesser of expiry and locked_until.
    due_at INTEGER NOT NULL,
    -- Failed or running deliveries so far.
    delivery_count INTEGER NOT NULL DEFAULT 0,
    -- Proof of the current hold, 16 bytes, and the first instant at which it no longer holds; both
    -- or neither. A lapsed lock stays until a receive or a sweep ends it.
    lock_token BLOB,
    locked_until INTEGER,
    -- Outcomes the sender wants to hear of: 0 none, 1 positive, 2 negative, 3 full.
    ack INTEGER NOT NULL,
    message_id TEXT,
    -- The other properties as JSON; NULL when there are none.
    properties TEXT,
    body BLOB NOT NULL,
    PRIMARY KEY (device_key, sequence)
) WITHOUT ROWID, STRICT;

-- For the sweeper alone.
CREATE INDEX messages_by_due ON messages (due_at);

-- Reports to senders that wait for a receiver; rows of one batch share a lock.
CREATE TABLE feedback (
    hub TEXT NOT NULL,
    -- Order of age, from the same counter as sequence numbers.
    record INTEGER NOT NULL,
    device_key INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    -- The sender's id of the message.
    message_id TEXT,
    -- When the outcome happened.
    at INTEGER NOT NULL,
    -- The outcome, as on the wire.
    status TEXT NOT NULL,
    -- When the record ends by itself.
    expiry INTEGER NOT NULL,
    delivery_count INTEGER NOT NULL DEFAULT 0,
    lock_token BLOB,
    locked_until INTEGER,
    PRIMARY KEY (hub, record)
) WITHOUT ROWID, STRICT;

-- A settlement names the lock.
CREATE INDEX feedback_by_lock ON feedback (hub, lock_token) WHERE lock_token IS NOT NULL;
-- The sweep looks for lives and for deliveries that are used up.
CREATE INDEX feedback_by_expiry ON feedback (expiry);
CREATE INDEX feedback_by_deliveries ON feedback (delivery_count) WHERE delivery_count > 0;

-- Events in the order of their commit, kept until they are shed.
CREATE TABLE outbox (
    -- Rises with every event, also after all were shed.
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    hub TEXT NOT NULL,
    -- Stable id of the event, 16 bytes.
    event_id BLOB NOT NULL,
    device_key INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    -- '' for the device itself.
    module_id TEXT NOT NULL,
    -- As `EventKind::as_str` names it.
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    -- JSON: an array of pairs.
    properties TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (hub, event_id)
) STRICT;
