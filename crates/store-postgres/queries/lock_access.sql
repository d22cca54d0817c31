-- Writers of one hub's policies and authorities take turns; readers go on.
SELECT access_version FROM hubs WHERE hub = $1 FOR NO KEY UPDATE
