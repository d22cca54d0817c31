-- AUTOINCREMENT keeps the last key it gave; none was given before the first.
SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'identities'), 0)
