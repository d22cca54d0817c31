SELECT access_version FROM hubs WHERE hub = ?
