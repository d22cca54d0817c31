-- What keys of policies may be limited to, certificate authorities, and the version by which
-- gateways know that either has changed.

ALTER TABLE hubs ADD COLUMN access_version bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN hubs.access_version IS 'Rises by one with every write of the policies and the certificate authorities of the hub; their writers hold the row.';

ALTER TABLE policies ADD COLUMN scope text;
ALTER TABLE policies ADD COLUMN etag bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN policies.scope IS 'What the rights are limited to, as JSON; NULL for no limits.';
COMMENT ON COLUMN policies.etag IS 'Rises by one with every write of the policy.';

-- The owner's policy, as hubs are made with it, also administers from now on.
UPDATE policies SET permissions = 31 WHERE name = 'iothubowner' AND permissions = 15;

CREATE TABLE certificate_authorities (
    hub text NOT NULL,
    position integer NOT NULL,
    name text NOT NULL,
    certificate bytea NOT NULL,
    subject text NOT NULL,
    thumbprint text NOT NULL,
    not_before bigint NOT NULL,
    not_after bigint NOT NULL,
    is_verified boolean NOT NULL,
    verification_code text,
    etag bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (hub, position),
    UNIQUE (hub, name),
    UNIQUE (hub, thumbprint),
    CHECK (NOT is_verified OR verification_code IS NULL)
);
COMMENT ON TABLE certificate_authorities IS 'Authorities whose devices a hub believes, once they are verified.';
COMMENT ON COLUMN certificate_authorities.hub IS 'The tenant.';
COMMENT ON COLUMN certificate_authorities.position IS 'Order of creation.';
COMMENT ON COLUMN certificate_authorities.name IS 'Name in the hub.';
COMMENT ON COLUMN certificate_authorities.certificate IS 'The certificate, DER.';
COMMENT ON COLUMN certificate_authorities.subject IS 'What the certificate says whose it is.';
COMMENT ON COLUMN certificate_authorities.thumbprint IS 'SHA-256 of the certificate in upper-case hexadecimal.';
COMMENT ON COLUMN certificate_authorities.not_before IS 'First instant of its life.';
COMMENT ON COLUMN certificate_authorities.not_after IS 'Last instant of its life.';
COMMENT ON COLUMN certificate_authorities.is_verified IS 'Whether its owner has proved to hold its key.';
COMMENT ON COLUMN certificate_authorities.verification_code IS 'What a proof is asked with; NULL before the first question and after the proof.';
COMMENT ON COLUMN certificate_authorities.etag IS 'Rises by one with every write.';
COMMENT ON COLUMN certificate_authorities.created_at IS 'When it was registered.';
COMMENT ON COLUMN certificate_authorities.updated_at IS 'When it was written last.';
