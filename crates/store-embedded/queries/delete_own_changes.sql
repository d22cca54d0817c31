DELETE FROM desired_changes WHERE device_key IN (VALUES /*rows*/ (?))
