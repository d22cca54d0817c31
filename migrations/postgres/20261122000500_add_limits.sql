-- Limits that administrators have stated.

ALTER TABLE hubs ADD COLUMN limits_version bigint NOT NULL DEFAULT 0;
ALTER TABLE hubs ADD COLUMN limits text;
COMMENT ON COLUMN hubs.limits_version IS 'Rises by one with every change of the limits; 0 before the first. Their writers hold the row.';
COMMENT ON COLUMN hubs.limits IS 'What is stated, as JSON: rates of the hub, of each device, of single devices; NULL for nothing.';
