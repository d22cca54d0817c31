-- Waits for another who is creating the same hub; its policies then stand.
WITH created AS (
    INSERT INTO hubs (hub, created_at) VALUES ($1, $2)
    ON CONFLICT (hub) DO NOTHING
    RETURNING hub
)
INSERT INTO policies (hub, position, name, primary_key, secondary_key, permissions, scope)
SELECT
    created.hub, item.position - 1, item.name, item.primary_key, item.secondary_key, item.permissions,
    item.scope
FROM created
CROSS JOIN unnest($3::text[], $4::bytea[], $5::bytea[], $6::integer[], $7::text[])
    WITH ORDINALITY AS item (name, primary_key, secondary_key, permissions, scope, position)
