-- Modules with somebody who looks after them, devices with parents, what a device announces.

ALTER TABLE identities
    ADD COLUMN managed_by text,
    ADD COLUMN device_scope text COLLATE "C",
    ADD COLUMN parent_scopes text NOT NULL DEFAULT '[]',
    ADD COLUMN is_connected boolean NOT NULL DEFAULT false,
    ADD COLUMN model_id text COLLATE "C" NOT NULL DEFAULT '';
COMMENT ON COLUMN identities.managed_by IS 'Who looks after a module; NULL for devices.';
COMMENT ON COLUMN identities.device_scope IS 'The scope of an Edge device, or of the parent of another device; NULL for modules.';
COMMENT ON COLUMN identities.parent_scopes IS 'Scopes of the parents, a JSON array of texts.';
COMMENT ON COLUMN identities.is_connected IS 'Whether it is connected, as last recorded.';
COMMENT ON COLUMN identities.model_id IS 'Model of IoT Plug and Play it announced last, empty when none.';
COMMENT ON COLUMN identities.authentication IS 'sas, selfSigned, certificateAuthority or none; decides which of the next four are set.';

-- An Edge device opens a scope for its children.
UPDATE identities
SET device_scope = 'ms-azure-iot-edge://' || device_id || '-' || generation
WHERE is_edge AND module_id = '';
