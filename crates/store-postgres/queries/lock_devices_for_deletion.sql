-- Devices for one who ends some of them. Waits for those who hold them FOR KEY SHARE (an enqueue, a session);
-- what they leave behind is seen by the statements after this one.
SELECT * FROM identities
WHERE hub = $1 AND device_id = ANY ($2) AND module_id = ''
ORDER BY device_id
FOR UPDATE
