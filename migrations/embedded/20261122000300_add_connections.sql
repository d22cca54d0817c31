-- Which connection of an identity is the newest, who holds it, and which change of it was told last.

-- Epoch of the newest connection that was reported, 0 when none was; with connection_turn the number
-- of the change that was told last.
ALTER TABLE identities ADD COLUMN connection_epoch INTEGER NOT NULL DEFAULT 0;
-- How often that connection changed: 0 for its connect, odd when it has ended.
ALTER TABLE identities ADD COLUMN connection_turn INTEGER NOT NULL DEFAULT 1;
-- Gateway that holds the connection, or held it when others presumed its end; NULL after an end that
-- it reported.
ALTER TABLE identities ADD COLUMN connected_gateway TEXT;

-- Finds what a gateway left behind, and counts the connected devices of a hub without their rows.
CREATE INDEX identities_by_gateway ON identities (connected_gateway, device_key, hub, module_id)
WHERE is_connected;
