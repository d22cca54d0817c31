UPDATE policies
SET primary_key = ?3, secondary_key = ?4, permissions = ?5, scope = ?6, etag = ?7
WHERE hub = ?1 AND name = ?2
