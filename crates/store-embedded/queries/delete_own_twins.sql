DELETE FROM twins WHERE device_key IN (VALUES /*rows*/ (?))
