DELETE FROM sessions WHERE device_key IN (VALUES /*rows*/ (?))
