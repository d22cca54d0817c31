DELETE FROM certificate_authorities WHERE hub = ?1 AND name = ?2
