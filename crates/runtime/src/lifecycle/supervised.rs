//! A future with its place in the registry, its failure reported by policy.

use std::any::Any;
use std::error::Error;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::registry::Entry;

/// What a failed task ended with.
pub type TaskError = Box<dyn Error + Send + Sync>;

/// What a task may return: nothing, or a result whose error is reported by the task's policy.
pub trait TaskOutcome {
    /// Turns the output into the error to report, if any.
    ///
    /// # Errors
    /// The error the task ended with.
    fn into_result(self) -> Result<(), TaskError>;
}

impl TaskOutcome for () {
    fn into_result(self) -> Result<(), TaskError> {
        Ok(())
    }
}

impl<E: Into<TaskError>> TaskOutcome for Result<(), E> {
    fn into_result(self) -> Result<(), TaskError> {
        self.map_err(Into::into)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("panicked: {message}")]
struct Panicked {
    message: String,
}

pin_project! {
    /// Written by hand because an `async` block around a future holds it twice, which counts with
    /// hundreds of thousands of connections.
    pub(super) struct Supervised<F> {
        #[pin]
        future: F,
        entry: Entry,
    }
}

impl<F> Supervised<F> {
    pub(super) fn new(future: F, entry: Entry) -> Self {
        Self { future, entry }
    }
}

impl<F> Future for Supervised<F>
where
    F: Future,
    F::Output: TaskOutcome,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // Unwind safety: a future that panicked is never polled again, only dropped.
        let polled = catch_unwind(AssertUnwindSafe(|| this.future.poll(context)));
        let result = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => output.into_result(),
            Err(panic) => Err(Panicked {
                message: panic_message(&*panic),
            }
            .into()),
        };
        if let Err(error) = result {
            this.entry.on_failure(error);
        }
        Poll::Ready(())
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    match panic.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => "no message".to_owned(),
    }
}
