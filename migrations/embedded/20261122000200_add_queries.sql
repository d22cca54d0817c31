-- Twins found by what is in them.

-- Queries walk the identities of one hub in the order of their keys, which every index ends with.
-- The conditions are written as no other statement writes them, which so keeps to the index of
-- names.
CREATE INDEX identities_devices ON identities (hub) WHERE length(module_id) = 0;
CREATE INDEX identities_modules ON identities (hub) WHERE length(module_id) > 0;

-- Configurations that target the identity, as JSON: by id {"status": "Targeted" or "Applied"}.
ALTER TABLE twins ADD COLUMN configurations TEXT NOT NULL DEFAULT '{}';
