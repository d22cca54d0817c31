-- Twins found by what is in them.

-- Queries walk the identities of one hub in the order of their keys, which every index ends with.
CREATE INDEX identities_devices ON identities (hub) WHERE module_id = '';
CREATE INDEX identities_modules ON identities (hub) WHERE module_id <> '';

-- Configurations that target the identity, as JSON: by id {"status": "Targeted" or "Applied"}.
ALTER TABLE twins ADD COLUMN configurations TEXT NOT NULL DEFAULT '{}';
