SELECT device_key, version FROM twins WHERE device_key = ANY ($1)
