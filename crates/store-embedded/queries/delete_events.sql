-- Events that were sent.
DELETE FROM outbox WHERE position IN (VALUES /*rows*/ (?))
