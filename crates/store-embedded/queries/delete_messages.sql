-- Messages that ended.
DELETE FROM messages WHERE (device_key, sequence) IN (VALUES /*rows*/ (?, ?))
