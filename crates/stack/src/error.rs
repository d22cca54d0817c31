//! Why a server could not be had.

use std::fmt;

/// Why a server could not be started, stopped or asked: one sentence for the person reading.
#[derive(Debug, Clone)]
pub struct StackError(String);

impl StackError {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// Turns the error of an attempt into a sentence that names the attempt.
    pub(crate) fn from_io(attempt: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self(format!("cannot {attempt}: {error}"))
    }
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StackError {}

/// Takes the value, or ends the test with the sentence of the error.
#[track_caller]
pub(crate) fn expect<T>(outcome: Result<T, StackError>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
