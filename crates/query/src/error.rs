//! What is wrong with a query's text.

use thiserror::Error;

/// A text that is no query, or asks for what the language does not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("syntax error at character {position}: {message}")]
pub struct SyntaxError {
    /// Where, in characters; the first one is 1. One past the last when something is missing at
    /// the end.
    pub position: usize,
    /// What was expected or is not allowed there.
    pub message: String,
}

impl SyntaxError {
    pub(crate) fn new(position: usize, message: impl Into<String>) -> Self {
        Self {
            position,
            message: message.into(),
        }
    }
}
