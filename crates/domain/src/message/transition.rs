//! Transitions of a message; see [`crate::message`].
