-- The text only when its version is another than the one that is known.
SELECT limits_version, CASE WHEN limits_version = $2 THEN NULL ELSE limits END AS limits FROM hubs WHERE hub = $1
