-- Writers of one hub's limits take turns; readers go on.
SELECT limits_version, limits FROM hubs WHERE hub = $1 FOR NO KEY UPDATE
