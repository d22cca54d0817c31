-- Behind the others; the writer holds the hub, so nobody takes the place meanwhile.
INSERT INTO certificate_authorities (
    hub, position, name, certificate, subject, thumbprint, not_before, not_after, is_verified,
    verification_code, etag, created_at, updated_at
)
VALUES (
    $1, (SELECT coalesce(max(position) + 1, 0) FROM certificate_authorities WHERE hub = $1), $2, $3,
    $4, $5, $6, $7, $8, $9, $10, $11, $12
)
