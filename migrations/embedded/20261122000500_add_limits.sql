-- Limits that administrators have stated.

-- Rises by one with every change of the limits; 0 before the first.
ALTER TABLE hubs ADD COLUMN limits_version INTEGER NOT NULL DEFAULT 0;
-- What is stated, as JSON: rates of the hub, of each device, of single devices; NULL for nothing.
ALTER TABLE hubs ADD COLUMN limits TEXT;
