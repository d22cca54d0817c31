-- The identity for one who ends it. Waits for those who hold it FOR KEY SHARE (an enqueue, a session,
-- a module being created); what they leave behind is seen by the statements after this one.
SELECT * FROM identities
WHERE hub = $1 AND device_id = $2 AND module_id = $3
FOR UPDATE
