-- Twins found by what is in their tags: every member of every document as a row of its own, which
-- the database keeps by itself whoever writes the twin.

-- Queries walk the identities of one hub in the order of their keys. The conditions are written as
-- no other statement writes them, which so keeps to the index of names.
CREATE INDEX identities_devices ON identities (hub, device_key) WHERE length(module_id) = 0;
COMMENT ON INDEX identities_devices IS 'Queries walk the devices of a hub.';
CREATE INDEX identities_modules ON identities (hub, device_key) WHERE length(module_id) > 0;
COMMENT ON INDEX identities_modules IS 'Queries walk the modules of a hub.';

ALTER TABLE twins ADD COLUMN configurations text NOT NULL DEFAULT '{}';
COMMENT ON COLUMN twins.configurations IS 'Configurations that target the identity, as JSON: by id {"status": "Targeted" or "Applied"}.';

CREATE TABLE twin_values (
    place uuid NOT NULL,
    kind smallint NOT NULL,
    number double precision NOT NULL,
    text text COLLATE "C" NOT NULL,
    device_key bigint NOT NULL,
    is_module boolean NOT NULL,
    PRIMARY KEY (place, kind, number, text, device_key) INCLUDE (is_module)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE twin_values IS 'Members of tags, scalars and others, one row for each twin that has them. Kept by triggers of twins.';
COMMENT ON COLUMN twin_values.place IS 'Hub, section and path of the member, as twin_place digests them; of a document that is not taken apart, those of the section.';
COMMENT ON COLUMN twin_values.kind IS '0 a document that is not taken apart, 1 null, 2 false, 3 true, 4 number, 5 text, 6 text too long for an index, 7 object, 8 array.';
COMMENT ON COLUMN twin_values.number IS 'The number, 0 for all other kinds.';
COMMENT ON COLUMN twin_values.text IS 'The text, empty for all other kinds.';
COMMENT ON COLUMN twin_values.device_key IS 'Whose twin.';
COMMENT ON COLUMN twin_values.is_module IS 'Whether that is a module; counts need no other table.';

-- Names of members hold no control character, and neither does a hub's.
CREATE FUNCTION twin_place(hub text, section text, path text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT encode(
        substr(sha256(convert_to(hub || chr(31) || section || path, 'UTF8')), 1, 16), 'hex'
    )::uuid
$$;
COMMENT ON FUNCTION twin_place IS 'Digest of where a member is; its path is each name after U+001F, and empty for the section itself.';

-- Two things in a JSON text are beyond jsonb or double precision: the character U+0000, and
-- exponents of three digits. A document that seems to have them is one row, and queries read it.
CREATE FUNCTION twin_members(hub text, section text, document text)
RETURNS TABLE (place uuid, kind smallint, number double precision, text text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF document = '{}' THEN
        RETURN;
    END IF;
    IF document ~ '\\u0000|[:,[]-?[0-9.]+[eE][+-]?[0-9]{3}' THEN
        RETURN QUERY SELECT twin_place(hub, section, ''), 0::smallint, 0::double precision, '';
        RETURN;
    END IF;
    RETURN QUERY
    WITH RECURSIVE members (path, value) AS (
        SELECT chr(31) || member.key, member.value FROM jsonb_each(document::jsonb) AS member
        UNION ALL
        SELECT members.path || chr(31) || member.key, member.value
        FROM members, jsonb_each(members.value) AS member
        WHERE jsonb_typeof(members.value) = 'object'
    ), typed AS (
        SELECT
            members.path,
            jsonb_typeof(members.value) AS type,
            CASE WHEN jsonb_typeof(members.value) NOT IN ('object', 'array')
                THEN members.value #>> '{}' END AS content
        FROM members
    )
    SELECT
        twin_place(hub, section, typed.path),
        CASE typed.type
            WHEN 'null' THEN 1
            WHEN 'boolean' THEN CASE typed.content WHEN 'false' THEN 2 ELSE 3 END
            WHEN 'number' THEN 4
            WHEN 'string' THEN CASE WHEN octet_length(typed.content) <= 512 THEN 5 ELSE 6 END
            WHEN 'object' THEN 7
            ELSE 8
        END::smallint,
        CASE typed.type WHEN 'number' THEN typed.content::double precision ELSE 0 END,
        CASE WHEN typed.type = 'string' AND octet_length(typed.content) <= 512
            THEN typed.content ELSE '' END
    FROM typed;
END
$$;
COMMENT ON FUNCTION twin_members IS 'The rows of twin_values for one document.';

CREATE FUNCTION keep_twin_values() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    WITH
        past AS MATERIALIZED (
            SELECT member.* FROM twin_members(OLD.hub, 'tags', OLD.tags) AS member
            WHERE TG_OP <> 'INSERT'
        ),
        present AS MATERIALIZED (
            SELECT member.* FROM twin_members(NEW.hub, 'tags', NEW.tags) AS member
            WHERE TG_OP <> 'DELETE'
        ),
        gone AS (
            DELETE FROM twin_values USING (TABLE past EXCEPT TABLE present) AS member
            WHERE twin_values.place = member.place
                AND twin_values.kind = member.kind
                AND twin_values.number = member.number
                AND twin_values.text = member.text
                AND twin_values.device_key = OLD.device_key
        )
    INSERT INTO twin_values (place, kind, number, text, device_key, is_module)
    SELECT member.*, NEW.device_key, EXISTS (
        SELECT FROM identities
        WHERE identities.device_key = NEW.device_key AND identities.module_id <> ''
    )
    FROM (TABLE present EXCEPT TABLE past) AS member;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_twin_values IS 'Brings twin_values after a write of tags; unchanged members are not touched.';

CREATE TRIGGER twins_inserted AFTER INSERT ON twins
FOR EACH ROW WHEN (NEW.tags <> '{}') EXECUTE FUNCTION keep_twin_values();
CREATE TRIGGER twins_updated AFTER UPDATE ON twins
FOR EACH ROW WHEN (OLD.tags <> NEW.tags) EXECUTE FUNCTION keep_twin_values();
CREATE TRIGGER twins_deleted AFTER DELETE ON twins
FOR EACH ROW WHEN (OLD.tags <> '{}') EXECUTE FUNCTION keep_twin_values();

INSERT INTO twin_values (place, kind, number, text, device_key, is_module)
SELECT member.*, twins.device_key, identities.module_id <> ''
FROM twins
JOIN identities ON identities.device_key = twins.device_key
CROSS JOIN twin_members(twins.hub, 'tags', twins.tags) AS member
WHERE twins.tags <> '{}';
