DELETE FROM policies WHERE hub = ?1 AND name = ?2
