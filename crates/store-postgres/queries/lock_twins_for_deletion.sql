-- In the order in which writers of twins take them.
SELECT device_key FROM twins WHERE device_key = ANY ($1) ORDER BY device_key FOR UPDATE
