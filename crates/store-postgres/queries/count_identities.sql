SELECT count(*) AS identities FROM identities WHERE hub = $1
