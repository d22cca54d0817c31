SELECT * FROM policies WHERE hub = ? ORDER BY position
