//! Waiting for what has no event to await: another program getting ready.

use std::time::{Duration, Instant};

use crate::StackError;

/// How long to leave a server alone between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks `attempt` until it gives a value, for `patience` at most.
///
/// The last complaint of `attempt` is part of the error. An attempt that finds the wait to be in
/// vain ends it with [`Attempt::Hopeless`].
pub(crate) fn until<T>(
    what: &str,
    patience: Duration,
    mut attempt: impl FnMut() -> Attempt<T>,
) -> Result<T, StackError> {
    let started = Instant::now();
    loop {
        let complaint = match attempt() {
            Attempt::Done(value) => return Ok(value),
            Attempt::NotYet(complaint) => complaint,
            Attempt::Hopeless(error) => return Err(error),
        };
        if started.elapsed() >= patience {
            return Err(StackError::new(format!(
                "{what} took more than {} s: {complaint}",
                patience.as_secs()
            )));
        }
        std::thread::sleep(PAUSE);
    }
}

/// What one attempt came to.
pub(crate) enum Attempt<T> {
    /// The wait is over.
    Done(T),
    /// Ask again; why, for the error in case time runs out.
    NotYet(String),
    /// No further attempt can succeed.
    Hopeless(StackError),
}

impl<T> From<Result<T, String>> for Attempt<T> {
    fn from(outcome: Result<T, String>) -> Self {
        match outcome {
            Ok(value) => Self::Done(value),
            Err(complaint) => Self::NotYet(complaint),
        }
    }
}
