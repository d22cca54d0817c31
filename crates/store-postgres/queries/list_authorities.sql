SELECT * FROM certificate_authorities WHERE hub = $1 ORDER BY position
