UPDATE hubs SET limits_version = ?2, limits = ?3 WHERE hub = ?1
