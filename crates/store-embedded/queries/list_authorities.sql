SELECT * FROM certificate_authorities WHERE hub = ? ORDER BY position
