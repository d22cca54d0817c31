-- One at a time adds identities to a hub that is near its limit; how many it has is counted after.
SELECT pg_advisory_xact_lock(hashtextextended($1, 7021))
