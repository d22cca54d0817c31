UPDATE hubs SET access_version = ?2 WHERE hub = ?1
