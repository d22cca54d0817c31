-- What keys of policies may be limited to, certificate authorities, and the version by which
-- gateways know that either has changed.

-- Rises by one with every write of the policies and the certificate authorities of the hub.
ALTER TABLE hubs ADD COLUMN access_version INTEGER NOT NULL DEFAULT 1;

-- What the rights are limited to, as JSON; NULL for no limits.
ALTER TABLE policies ADD COLUMN scope TEXT;
-- Rises by one with every write of the policy.
ALTER TABLE policies ADD COLUMN etag INTEGER NOT NULL DEFAULT 1;

-- The owner's policy, as hubs are made with it, also administers from now on.
UPDATE policies SET permissions = 31 WHERE name = 'iothubowner' AND permissions = 15;

-- Authorities whose devices a hub believes, once they are verified.
CREATE TABLE certificate_authorities (
    hub TEXT NOT NULL,
    -- Order of creation.
    position INTEGER NOT NULL,
    -- Name in the hub.
    name TEXT NOT NULL,
    -- The certificate, DER.
    certificate BLOB NOT NULL,
    -- What the certificate says whose it is.
    subject TEXT NOT NULL,
    -- SHA-256 of the certificate in upper-case hexadecimal.
    thumbprint TEXT NOT NULL,
    -- First and last instant of its life.
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    -- 1 once its owner has proved to hold its key.
    is_verified INTEGER NOT NULL,
    -- What a proof is asked with; NULL before the first question and after the proof.
    verification_code TEXT,
    -- Rises by one with every write.
    etag INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (hub, position),
    UNIQUE (hub, name),
    UNIQUE (hub, thumbprint),
    CHECK (NOT is_verified OR verification_code IS NULL)
) WITHOUT ROWID, STRICT;
