SELECT * FROM policies WHERE hub = $1 ORDER BY position
