-- Behind the others.
INSERT INTO policies (hub, position, name, primary_key, secondary_key, permissions, scope, etag)
VALUES (
    ?1, (SELECT coalesce(max(position) + 1, 0) FROM policies WHERE hub = ?1), ?2, ?3, ?4, ?5, ?6, ?7
)
