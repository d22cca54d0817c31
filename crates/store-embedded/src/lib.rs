//! The store ports on one local SQLite file.
