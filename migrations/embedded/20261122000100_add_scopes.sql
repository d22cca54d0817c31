-- Modules with somebody who looks after them, devices with parents, what a device announces.

-- Who looks after a module; NULL for devices.
ALTER TABLE identities ADD COLUMN managed_by TEXT;
-- The scope of an Edge device, or of the parent of another device; NULL for modules.
ALTER TABLE identities ADD COLUMN device_scope TEXT;
-- Scopes of the parents, a JSON array of texts.
ALTER TABLE identities ADD COLUMN parent_scopes TEXT NOT NULL DEFAULT '[]';
-- Whether it is connected, as last recorded.
ALTER TABLE identities ADD COLUMN is_connected INTEGER NOT NULL DEFAULT 0;
-- Model of IoT Plug and Play it announced last, empty when none.
ALTER TABLE identities ADD COLUMN model_id TEXT NOT NULL DEFAULT '';

-- An Edge device opens a scope for its children.
UPDATE identities
SET device_scope = 'ms-azure-iot-edge://' || device_id || '-' || generation
WHERE is_edge AND module_id = '';
