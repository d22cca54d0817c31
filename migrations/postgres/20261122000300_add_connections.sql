-- Which connection of an identity is the newest, who holds it, and which change of it was told last.

ALTER TABLE identities
    ADD COLUMN connection_epoch bigint NOT NULL DEFAULT 0,
    ADD COLUMN connection_turn integer NOT NULL DEFAULT 1,
    ADD COLUMN connected_gateway text COLLATE "C";
COMMENT ON COLUMN identities.connection_epoch IS 'Epoch of the newest connection that was reported, 0 when none was; with connection_turn the number of the change that was told last.';
COMMENT ON COLUMN identities.connection_turn IS 'How often that connection changed: 0 for its connect, odd when it has ended.';
COMMENT ON COLUMN identities.connected_gateway IS 'Gateway that holds the connection, or held it when others presumed its end; NULL after an end that it reported.';

-- Changed with every connect and disconnect: the price of finding what a gateway left behind. It
-- also counts the connected devices of a hub without their rows.
CREATE INDEX identities_by_gateway ON identities (connected_gateway, device_key)
INCLUDE (hub, module_id)
WHERE is_connected;
