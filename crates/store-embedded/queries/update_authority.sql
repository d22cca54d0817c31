UPDATE certificate_authorities
SET
    certificate = ?3,
    subject = ?4,
    thumbprint = ?5,
    not_before = ?6,
    not_after = ?7,
    is_verified = ?8,
    verification_code = ?9,
    etag = ?10,
    created_at = ?11,
    updated_at = ?12
WHERE hub = ?1 AND name = ?2
