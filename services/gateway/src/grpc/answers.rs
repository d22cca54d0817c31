//! The server's half of a stream.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;

/// Messages that wait to be written; their producer waits beyond.
const MAX_WAITING: usize = 4;

/// Sends the messages of a stream.
pub(super) struct Answers<T> {
    sender: mpsc::Sender<Result<T, Status>>,
    deadline: Duration,
}

/// The caller has gone, or takes nothing.
#[derive(Debug)]
pub(super) struct Gone;

/// The messages as the machinery takes them.
pub(crate) struct AnswerStream<T>(mpsc::Receiver<Result<T, Status>>);

/// Makes both ends; a message that is not taken within `deadline` ends the stream.
pub(super) fn answers<T>(deadline: Duration) -> (Answers<T>, AnswerStream<T>) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    (Answers { sender, deadline }, AnswerStream(receiver))
}

impl<T> Answers<T> {
    pub(super) async fn send(&self, message: T) -> Result<(), Gone> {
        self.put(Ok(message)).await
    }

    /// Ends the stream with a failure.
    pub(super) async fn fail(self, status: Status) {
        // Who has gone needs no status.
        let _ = self.put(Err(status)).await;
    }

    /// Waits until the caller has gone.
    pub(super) async fn gone(&self) {
        self.sender.closed().await;
    }

    async fn put(&self, item: Result<T, Status>) -> Result<(), Gone> {
        match timeout(self.deadline, self.sender.send(item)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

impl<T> Stream for AnswerStream<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
