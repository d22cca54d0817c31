//! Manual clock, builders and in-memory ports for tests.
