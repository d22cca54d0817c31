SELECT nextval('identity_keys') FROM generate_series(1, $1::bigint)
