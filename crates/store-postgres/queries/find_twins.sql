SELECT * FROM twins WHERE device_key = ANY ($1)
