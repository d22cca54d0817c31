-- The store of a hub on Postgres 15 or later.
--
-- Every primary key and unique constraint starts with the key of a device's life or with the hub,
-- and no statement on the hot path joins the rows of two devices: the schema runs as it is on a
-- Postgres that is split by `device_key`. There are no foreign keys: an identity is deleted with
-- all that is its own in one transaction, and feedback and events outlive it on purpose.
--
-- Writers of messages hold the identity's row FOR KEY SHARE; a deletion takes it FOR UPDATE first
-- and removes messages in a statement of its own after that, so none is left behind.
--
-- The database never asks what time it is: every `now` is a parameter.

-- CACHE 1: numbers given in one session after those of another are higher, which is what keeps
-- the order of a sender whose messages go through several connections.
CREATE SEQUENCE message_numbers AS bigint CACHE 1;
COMMENT ON SEQUENCE message_numbers IS 'Places of messages in their queues, and ages of feedback records.';

CREATE SEQUENCE identity_keys AS bigint CACHE 1;
COMMENT ON SEQUENCE identity_keys IS 'Keys of identities; none is given twice, so nothing of one life reaches the next.';

CREATE SEQUENCE outbox_positions AS bigint CACHE 1;
COMMENT ON SEQUENCE outbox_positions IS 'Places of events in the outbox. Drawn only in a transaction that has its id already: from that a relay knows which places are decided.';

CREATE TABLE hubs (
    hub text NOT NULL PRIMARY KEY,
    number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    created_at bigint NOT NULL
);
COMMENT ON TABLE hubs IS 'The tenants.';
COMMENT ON COLUMN hubs.hub IS 'Host name, in lower case.';
COMMENT ON COLUMN hubs.number IS 'Order of creation among hubs of one instant.';
COMMENT ON COLUMN hubs.created_at IS 'When it was created; milliseconds since the Unix epoch, UTC, as every instant here.';

CREATE TABLE policies (
    hub text NOT NULL,
    position integer NOT NULL,
    name text NOT NULL,
    primary_key bytea NOT NULL,
    secondary_key bytea NOT NULL,
    permissions integer NOT NULL,
    PRIMARY KEY (hub, position),
    UNIQUE (hub, name)
);
COMMENT ON TABLE policies IS 'Shared access policies of hubs.';
COMMENT ON COLUMN policies.hub IS 'The tenant.';
COMMENT ON COLUMN policies.position IS 'Place in the list they were given in.';
COMMENT ON COLUMN policies.name IS 'Name, as in SharedAccessKeyName.';
COMMENT ON COLUMN policies.primary_key IS 'First key, raw.';
COMMENT ON COLUMN policies.secondary_key IS 'Second key, raw.';
COMMENT ON COLUMN policies.permissions IS 'Rights, one bit each, as Permissions::bits numbers them.';

CREATE TABLE identities (
    device_key bigint NOT NULL PRIMARY KEY,
    hub text NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    module_id text COLLATE "C" NOT NULL DEFAULT '',
    generation bigint NOT NULL,
    etag bigint NOT NULL,
    status text NOT NULL,
    status_reason text,
    status_updated_at bigint NOT NULL,
    authentication text NOT NULL,
    primary_key bytea,
    secondary_key bytea,
    primary_thumbprint text,
    secondary_thumbprint text,
    is_edge boolean NOT NULL,
    connection_state_updated_at bigint NOT NULL,
    last_activity_at bigint NOT NULL,
    UNIQUE (hub, device_id, module_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE identities IS 'Devices and modules.';
COMMENT ON COLUMN identities.device_key IS 'Key of this life of the identity, from identity_keys.';
COMMENT ON COLUMN identities.hub IS 'The tenant.';
COMMENT ON COLUMN identities.device_id IS 'Id of the device; ordered by bytes.';
COMMENT ON COLUMN identities.module_id IS 'Id of the module, empty for the device itself: NULLs would all be distinct to the unique constraint.';
COMMENT ON COLUMN identities.generation IS 'Tells this life from others of the same name; .NET ticks.';
COMMENT ON COLUMN identities.etag IS 'Rises by one with every write of the identity.';
COMMENT ON COLUMN identities.status IS 'enabled or disabled.';
COMMENT ON COLUMN identities.status_reason IS 'What the writer said of the status.';
COMMENT ON COLUMN identities.status_updated_at IS 'When the status changed.';
COMMENT ON COLUMN identities.authentication IS 'sas, selfSigned or certificateAuthority; decides which of the next four are set.';
COMMENT ON COLUMN identities.primary_key IS 'First symmetric key, raw.';
COMMENT ON COLUMN identities.secondary_key IS 'Second symmetric key, raw.';
COMMENT ON COLUMN identities.primary_thumbprint IS 'Thumbprint of the first certificate.';
COMMENT ON COLUMN identities.secondary_thumbprint IS 'Thumbprint of the second certificate.';
COMMENT ON COLUMN identities.is_edge IS 'Whether it is an Edge gateway.';
COMMENT ON COLUMN identities.connection_state_updated_at IS 'When it connected or disconnected last.';
COMMENT ON COLUMN identities.last_activity_at IS 'When it was heard of last.';

CREATE TABLE twins (
    device_key bigint NOT NULL PRIMARY KEY,
    hub text NOT NULL,
    tags text NOT NULL,
    desired text NOT NULL,
    desired_metadata text NOT NULL,
    desired_version bigint NOT NULL,
    reported text NOT NULL,
    reported_metadata text NOT NULL,
    reported_version bigint NOT NULL,
    etag bigint NOT NULL,
    version bigint NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE twins IS 'One twin for each identity. Sections are JSON text, written as they are read: numbers keep their spelling.';
COMMENT ON COLUMN twins.device_key IS 'Whose twin.';
COMMENT ON COLUMN twins.hub IS 'The tenant.';
COMMENT ON COLUMN twins.tags IS 'Tags.';
COMMENT ON COLUMN twins.desired IS 'Desired properties.';
COMMENT ON COLUMN twins.desired_metadata IS 'When each desired property was written.';
COMMENT ON COLUMN twins.desired_version IS 'Rises by one with every write of desired properties.';
COMMENT ON COLUMN twins.reported IS 'Reported properties.';
COMMENT ON COLUMN twins.reported_metadata IS 'When each reported property was written.';
COMMENT ON COLUMN twins.reported_version IS 'Rises by one with every write of reported properties.';
COMMENT ON COLUMN twins.etag IS 'The number inside the etag.';
COMMENT ON COLUMN twins.version IS 'Rises by one with every write.';

CREATE TABLE sessions (
    device_key bigint NOT NULL PRIMARY KEY,
    hub text NOT NULL,
    body bytea NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE sessions IS 'MQTT sessions that outlive their connections.';
COMMENT ON COLUMN sessions.device_key IS 'Whose session.';
COMMENT ON COLUMN sessions.hub IS 'The tenant.';
COMMENT ON COLUMN sessions.body IS 'The session, opaque.';

-- Half of each page stays free for the next version of its rows: a message is written, locked and
-- removed within one page. Queues churn, so vacuum comes after so many dead rows and not after a
-- share of the table, and does not pause.
CREATE TABLE messages (
    device_key bigint NOT NULL,
    sequence bigint NOT NULL,
    hub text NOT NULL,
    enqueued_at bigint NOT NULL,
    expiry bigint NOT NULL,
    due_at bigint NOT NULL,
    delivery_count integer NOT NULL DEFAULT 0,
    lock_token bytea,
    locked_until bigint,
    ack smallint NOT NULL,
    message_id text,
    properties text,
    body bytea NOT NULL,
    PRIMARY KEY (device_key, sequence)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.5,
    toast.autovacuum_vacuum_scale_factor = 0.02,
    toast.autovacuum_vacuum_threshold = 5000
);
COMMENT ON TABLE messages IS 'Cloud-to-device messages that have not ended; those that have are gone. Enqueued without a lock, Invisible with one.';
COMMENT ON COLUMN messages.device_key IS 'Whose queue.';
COMMENT ON COLUMN messages.sequence IS 'Place in the queue, from message_numbers.';
COMMENT ON COLUMN messages.hub IS 'The tenant.';
COMMENT ON COLUMN messages.enqueued_at IS 'When it was accepted.';
COMMENT ON COLUMN messages.expiry IS 'When it ends by itself.';
COMMENT ON COLUMN messages.due_at IS 'When the sweep should look at it: the lesser of expiry and locked_until; later for a row that cannot be read.';
COMMENT ON COLUMN messages.delivery_count IS 'Failed or running deliveries so far.';
COMMENT ON COLUMN messages.lock_token IS 'Proof of the current hold, 16 bytes. A lapsed lock stays until a receive or a sweep ends it.';
COMMENT ON COLUMN messages.locked_until IS 'First instant at which the hold is over; set exactly when lock_token is.';
COMMENT ON COLUMN messages.ack IS 'Outcomes the sender wants to hear of: bit 1 completion, bit 2 dead-lettering and purge.';
COMMENT ON COLUMN messages.message_id IS 'The sender''s id of the message.';
COMMENT ON COLUMN messages.properties IS 'The other properties as JSON, NULL when there are none.';
COMMENT ON COLUMN messages.body IS 'The payload.';

CREATE INDEX messages_by_due ON messages (due_at);
COMMENT ON INDEX messages_by_due IS 'For the sweep alone.';

CREATE TABLE feedback (
    hub text NOT NULL,
    record bigint NOT NULL,
    device_key bigint NOT NULL,
    device_id text NOT NULL,
    generation bigint NOT NULL,
    message_id text,
    at bigint NOT NULL,
    status text NOT NULL,
    expiry bigint NOT NULL,
    delivery_count integer NOT NULL DEFAULT 0,
    lock_token bytea,
    locked_until bigint,
    PRIMARY KEY (hub, record)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.5
);
COMMENT ON TABLE feedback IS 'Reports to senders that wait for a receiver; rows of one batch share a lock.';
COMMENT ON COLUMN feedback.hub IS 'The tenant.';
COMMENT ON COLUMN feedback.record IS 'Order of age, from message_numbers.';
COMMENT ON COLUMN feedback.device_key IS 'Key of the life of the device that the message was for.';
COMMENT ON COLUMN feedback.device_id IS 'The device.';
COMMENT ON COLUMN feedback.generation IS 'Its generation at that time.';
COMMENT ON COLUMN feedback.message_id IS 'The sender''s id of the message.';
COMMENT ON COLUMN feedback.at IS 'When the outcome happened.';
COMMENT ON COLUMN feedback.status IS 'The outcome, as on the wire.';
COMMENT ON COLUMN feedback.expiry IS 'When the record ends by itself.';
COMMENT ON COLUMN feedback.delivery_count IS 'Deliveries so far.';
COMMENT ON COLUMN feedback.lock_token IS 'Proof of the current hold, 16 bytes, the same for all records of a batch.';
COMMENT ON COLUMN feedback.locked_until IS 'First instant at which the hold is over; set exactly when lock_token is.';

CREATE INDEX feedback_by_lock ON feedback (hub, lock_token) WHERE lock_token IS NOT NULL;
COMMENT ON INDEX feedback_by_lock IS 'A settlement names the lock.';
CREATE INDEX feedback_by_expiry ON feedback (expiry);
COMMENT ON INDEX feedback_by_expiry IS 'The sweep looks for lives that are over.';
CREATE INDEX feedback_by_deliveries ON feedback (delivery_count) WHERE delivery_count > 0;
COMMENT ON INDEX feedback_by_deliveries IS 'The sweep looks for deliveries that are used up.';

CREATE TABLE outbox (
    device_key bigint NOT NULL,
    event_id bytea NOT NULL,
    position bigint NOT NULL DEFAULT nextval('outbox_positions'),
    lane smallint NOT NULL GENERATED ALWAYS AS ((hashtext(device_id) & 15)::smallint) STORED,
    hub text NOT NULL,
    device_id text NOT NULL,
    module_id text NOT NULL DEFAULT '',
    kind text NOT NULL,
    at bigint NOT NULL,
    properties text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (device_key, event_id)
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.5,
    toast.autovacuum_vacuum_scale_factor = 0.02,
    toast.autovacuum_vacuum_threshold = 5000
);
COMMENT ON TABLE outbox IS 'Events that wait to be relayed, written with the change that they report.';
COMMENT ON COLUMN outbox.device_key IS 'Key of the identity''s life.';
COMMENT ON COLUMN outbox.event_id IS 'Stable id of the event, 16 bytes.';
COMMENT ON COLUMN outbox.position IS 'Order in which the events of one device leave, from outbox_positions.';
COMMENT ON COLUMN outbox.lane IS 'Lane, 0 to 15; a lane has one relay at a time. Chosen by the device''s id and not by its key: the deletion of one life leaves before the creation of the next, and modules leave with their device.';
COMMENT ON COLUMN outbox.hub IS 'The tenant.';
COMMENT ON COLUMN outbox.device_id IS 'The device.';
COMMENT ON COLUMN outbox.module_id IS 'The module, empty for the device itself.';
COMMENT ON COLUMN outbox.kind IS 'As EventKind::as_str names it.';
COMMENT ON COLUMN outbox.at IS 'When the hub saw it.';
COMMENT ON COLUMN outbox.properties IS 'JSON: an array of pairs.';
COMMENT ON COLUMN outbox.body IS 'The payload.';

CREATE INDEX outbox_by_lane ON outbox (lane, position);
COMMENT ON INDEX outbox_by_lane IS 'A relay reads the oldest events of a lane.';
