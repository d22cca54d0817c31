SELECT COUNT(*) AS identities FROM identities WHERE hub = ?
