-- What devices that were away are to be told of their desired properties.

CREATE TABLE desired_changes (
    device_key bigint NOT NULL,
    version bigint NOT NULL,
    hub text NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (device_key, version)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE desired_changes IS 'The newest changes of desired properties, a few for each twin; older ones are removed as new ones come.';
COMMENT ON COLUMN desired_changes.device_key IS 'Whose.';
COMMENT ON COLUMN desired_changes.version IS 'Version of desired after the change.';
COMMENT ON COLUMN desired_changes.hub IS 'The tenant.';
COMMENT ON COLUMN desired_changes.body IS 'Text of a JSON object, as the device is told it.';

ALTER TABLE sessions ADD COLUMN told_desired bigint;
COMMENT ON COLUMN sessions.told_desired IS 'Version of desired properties that the device was told last; NULL when it is not known.';
