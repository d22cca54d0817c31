-- What devices that were away are to be told of their desired properties: the newest changes, a few
-- for each twin; older ones are removed as new ones come.

CREATE TABLE desired_changes (
    device_key INTEGER NOT NULL,
    version INTEGER NOT NULL,
    hub TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (device_key, version)
) STRICT, WITHOUT ROWID;

-- Version of desired properties that the device was told last; NULL when it is not known.
ALTER TABLE sessions ADD COLUMN told_desired INTEGER;
