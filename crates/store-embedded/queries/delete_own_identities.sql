DELETE FROM identities WHERE device_key IN (VALUES /*rows*/ (?))
