-- Identities by name.
SELECT wanted.position - 1 AS position, identities.*
FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS wanted (device_id, module_id, position)
JOIN identities
    ON identities.hub = $1
    AND identities.device_id = wanted.device_id
    AND identities.module_id = wanted.module_id
