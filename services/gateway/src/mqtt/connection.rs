//! The loop of one connection: one task, one poll, everything it waits for in one place.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::id::IdentityName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, timeout};

use super::admit::Admitted;
use super::conversation::{Conversation, Progress};
use super::end::End;
use super::output::Output;
use super::scratch;
use crate::device::Departing;
use crate::parting::{LINGER, part};
use crate::shared::Shared;

/// How long the last words to a client may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long work that the client was promised may take after its connection ended.
const LAST_WORK: Duration = Duration::from_secs(5);
/// How long leaving the hub may take.
const LEAVING: Duration = Duration::from_secs(10);

/// An admitted connection.
pub(super) struct Connection<S> {
    io: Box<S>,
    conversation: Conversation,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Makes the connection; its CONNACK is queued.
    pub(super) fn new(shared: Arc<Shared>, io: Box<S>, admitted: Admitted) -> Self {
        Self {
            io,
            conversation: Conversation::new(shared, admitted),
        }
    }

    /// Returns who is connected.
    pub(super) fn device_name(&self) -> &IdentityName {
        &self.conversation.session.device().name
    }

    /// Serves the client until something ends the connection.
    ///
    /// It waits for: readable and writable bytes, the device session, the keep-alive and write deadlines, the
    /// end of the token's grace, and the gateway's drain.
    pub(super) async fn until_end(&mut self, expires_at: Timestamp) -> End {
        let shared = Arc::clone(&self.conversation.shared);
        let grace_ends_at = expires_at + shared.options.mqtt.token_grace;
        let mut token_expiry = shared.peers.clock.sleep_until(grace_ends_at);
        let drain = shared.lifecycle.drain_token();
        let mut drain = pin!(drain.cancelled());
        let mut timer = pin!(tokio::time::sleep_until(self.next_deadline().0));
        poll_fn(|cx| {
            if let Err(end) = self.poll_work(cx) {
                return Poll::Ready(end);
            }
            if drain.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Draining);
            }
            if token_expiry.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::TokenExpired);
            }
            self.poll_deadlines(timer.as_mut(), cx)
        })
        .await
    }

    /// Says the last words, closes the stream, lets promised work end, and leaves the hub.
    ///
    /// Returns nothing when leaving took too long and was cut off; locks and presence then lapse.
    pub(super) async fn finish(self: Box<Self>, end: &End) -> Option<Departing> {
        let Self {
            mut io,
            mut conversation,
        } = *self;
        let output = conversation.take_output();
        // Who says goodbye has read what came before; of other ends nobody knows.
        let was_told_everything = end.is_graceful() && output.is_written();
        let words = async {
            if end.leaves_a_peer() {
                let output = end.leaves_a_reader().then_some(output);
                let _ = timeout(FAREWELL, farewell(&mut io, output)).await;
            }
            // The client is free to come back while the rest is done.
            drop(io);
        };
        let noting = conversation.note_desired(was_told_everything);
        // At the same time: a client that does not read must not keep what it held from the next.
        let leaving = async {
            conversation.session.ends_by(end.recorded());
            conversation.begin_end(end);
            let _ = timeout(LAST_WORK, poll_fn(|cx| conversation.poll_last_work(cx))).await;
            timeout(LEAVING, conversation.session.close()).await.ok()
        };
        futures::join!(words, leaving, noting).1
    }

    /// Moves everything that can be moved.
    ///
    /// What is gated by a bound is not polled, and whatever lifts the bound wakes the task: full output is being
    /// written, and a busy session is being worked off.
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            let read = self.poll_input(cx)?;
            let happened = self.conversation.poll_session(cx)?;
            let written = self.poll_output(cx)?;
            if [read, happened, written]
                .iter()
                .all(|progress| *progress == Progress::None)
            {
                return Ok(());
            }
        }
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Result<Progress, End> {
        let Self { io, conversation } = self;
        if !conversation.begin_reading() {
            return Ok(Progress::None);
        }
        if conversation.take_backlog()? == Progress::Made {
            return Ok(Progress::Made);
        }
        match scratch::poll_read(io, cx, |chunk| conversation.take_chunk(chunk)) {
            Poll::Pending => Ok(Progress::None),
            Poll::Ready(Err(_)) => Err(End::Lost),
            Poll::Ready(Ok(taken)) => taken,
        }
    }

    /// Writes; progress counts only when it makes room that was missing.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Result<Progress, End> {
        let Self { io, conversation } = self;
        let had_room = conversation.output.has_room();
        if let Poll::Ready(Err(_)) = conversation.output.poll_write(io, cx) {
            return Err(End::Lost);
        }
        let made_room = !had_room && conversation.output.has_room();
        Ok(if made_room {
            Progress::Made
        } else {
            Progress::None
        })
    }

    /// Ends the connection when its time is over. The timer is moved only when it is too late or has fired, so
    /// that a packet does not cost a change of timers.
    fn poll_deadlines(&self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let (deadline, end) = self.next_deadline();
            if deadline <= Instant::now() {
                return Poll::Ready(end);
            }
            if deadline < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn next_deadline(&self) -> (Instant, End) {
        let keep_alive = self.conversation.keep_alive_deadline();
        let write_deadline = self.conversation.shared.options.mqtt.write_deadline;
        match self.conversation.output.blocked_since() {
            Some(since) if since + write_deadline < keep_alive => {
                (since + write_deadline, End::WriteDeadline)
            }
            _ => (keep_alive, End::KeepAlive),
        }
    }
}

/// Writes what is queued for a client that still reads, and parts from it.
async fn farewell<S>(io: &mut S, output: Option<Output>) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(mut output) = output {
        poll_fn(|cx| output.poll_write(io, cx)).await?;
    }
    timeout(LINGER, part(io)).await?
}
