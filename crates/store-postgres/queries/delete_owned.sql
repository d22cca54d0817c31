-- Everything that belongs to these lives, the identities too; what their twins were.
WITH
    ended_messages AS (DELETE FROM messages WHERE device_key = ANY ($1)),
    ended_sessions AS (DELETE FROM sessions WHERE device_key = ANY ($1)),
    ended_changes AS (DELETE FROM desired_changes WHERE device_key = ANY ($1)),
    ended_identities AS (DELETE FROM identities WHERE device_key = ANY ($1))
DELETE FROM twins WHERE device_key = ANY ($1) RETURNING *
