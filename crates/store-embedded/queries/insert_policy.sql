INSERT INTO policies (hub, position, name, primary_key, secondary_key, permissions)
VALUES (?, ?, ?, ?, ?, ?)
