//! The server's half of a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use downlink_domain::ErrorCode;
use futures::Stream;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;

use crate::https::error::ApiError;

/// Messages that wait to be written; their producer waits beyond.
const MAX_WAITING: usize = 4;

/// Sends the messages of a stream. Dropping it ends the stream with `OK`.
pub(super) struct Answers<T> {
    sender: mpsc::Sender<T>,
    end: Arc<Mutex<Option<Status>>>,
    deadline: Duration,
}

/// The caller has gone, or takes nothing.
#[derive(Debug)]
pub(super) struct Gone;

/// The messages as the machinery takes them, then the failure that ended them.
pub(crate) struct AnswerStream<T> {
    messages: mpsc::Receiver<T>,
    end: Arc<Mutex<Option<Status>>>,
}

/// Makes both ends; a message that finds no room within `deadline` ends the stream.
pub(super) fn answers<T>(deadline: Duration) -> (Answers<T>, AnswerStream<T>) {
    let (sender, messages) = mpsc::channel(MAX_WAITING);
    let end = Arc::new(Mutex::new(None));
    let answers = Answers {
        sender,
        end: Arc::clone(&end),
        deadline,
    };
    (answers, AnswerStream { messages, end })
}

impl<T> Answers<T> {
    /// Sends a message; waits while the caller is behind.
    pub(super) async fn send(&self, message: T) -> Result<(), Gone> {
        match timeout(self.deadline, self.sender.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone),
            Err(_) => {
                let text = "the answers were not taken in time";
                let error = ApiError::new(ErrorCode::ServiceUnavailable, text);
                *self.end.lock() = Some(error.into());
                Err(Gone)
            }
        }
    }

    /// Ends the stream with a failure, after what was sent.
    pub(super) fn fail(self, status: Status) {
        *self.end.lock() = Some(status);
    }

    /// Waits until the caller has gone.
    pub(super) async fn gone(&self) {
        self.sender.closed().await;
    }
}

impl<T> Stream for AnswerStream<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.messages
            .poll_recv(context)
            .map(|message| match message {
                Some(message) => Some(Ok(message)),
                None => self.end.lock().take().map(Err),
            })
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn a_failure_comes_after_the_messages_and_ends_the_stream() {
        let (answers, mut stream) = answers(Duration::from_secs(1));
        answers.send(1).await.unwrap();
        answers.fail(Status::aborted("text"));
        assert_eq!(stream.next().await.unwrap().unwrap(), 1);
        let status = stream.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Aborted);
        assert!(stream.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_takes_nothing_loses_the_stream_and_is_told_so() {
        let (answers, mut stream) = answers(Duration::from_secs(1));
        let sending = async {
            for number in 0.. {
                if answers.send(number).await.is_err() {
                    break;
                }
            }
        };
        sending.await;
        drop(answers);
        for number in 0..MAX_WAITING {
            assert_eq!(stream.next().await.unwrap().unwrap(), number);
        }
        let status = stream.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(stream.next().await.is_none());
    }
}
