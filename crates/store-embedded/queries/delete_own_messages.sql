DELETE FROM messages WHERE device_key IN (VALUES /*rows*/ (?))
