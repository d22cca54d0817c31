//! The loop of one connection: one task, one poll, everything it waits for in one place.
//!
//! It waits for input (only while there is room for what it causes), for output to be taken, for
//! calls to the services, for the engine's and its own deadlines, for tokens to end, and for the
//! gateway to go away.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use downlink_domain::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::conversation::Conversation;
use crate::access::AccessView;
use crate::arrival::Arrival;
use crate::metrics::amqp::ConnectionEnd;
use crate::parting::{LINGER, part};
use crate::shared::Shared;

/// Bytes read at a time, into a buffer of the thread.
const READ_BYTES: usize = 16 * 1024;
/// Steps after which other tasks of the thread get their turn.
const STEPS_PER_POLL: usize = 32;
/// How long calls under way may take after the connection has ended.
const LAST_WORK: Duration = Duration::from_secs(25);
/// The same when the gateway goes away.
const LAST_WORK_IN_DRAIN: Duration = Duration::from_secs(5);
/// How long clients may take to leave by themselves once their links are detached.
const PARTING: Duration = Duration::from_secs(2);
/// Times the deadline of open that a client has for its first token.
const TOKEN_PATIENCE: u32 = 2;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What is told of a connection at its end.
pub(super) struct Summary {
    pub(super) cause: &'static str,
    pub(super) actor: Option<String>,
    pub(super) messages: u64,
    /// Whether the client never showed who it is.
    pub(super) is_stranger: bool,
}

/// A connection and its socket.
pub(super) struct Connection<S> {
    io: S,
    shared: Arc<Shared>,
    conversation: Conversation,
    timer: Pin<Box<Sleep>>,
    /// Wait for the next token to end, with the instant it was made for.
    expiry: Option<(Timestamp, Wait)>,
    drain: Wait,
    /// Wait for the next view of policies and authorities.
    views: NextView,
    phase: Phase,
    /// When a client without a token, and without a link, is given up.
    token_due: Option<Instant>,
    /// When a client that has not left by itself is closed.
    parting_due: Option<Instant>,
    /// When output that waits must have moved.
    write_due: Option<Instant>,
    is_unflushed: bool,
    is_broken: bool,
    /// Whether the client left output unread for too long.
    is_stalled: bool,
}

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;
type Views = watch::Receiver<Option<Arc<AccessView>>>;
type NextView = Pin<Box<dyn Future<Output = Views> + Send>>;

fn next_view(mut views: Views) -> NextView {
    Box::pin(async move {
        if views.changed().await.is_err() {
            // Its sender lives as long as the gateway.
            std::future::pending::<()>().await;
        }
        views
    })
}

/// Where the connection stands towards the gateway's own life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Everything is taken.
    Serving,
    /// The gateway goes away: what was taken is worked off, nothing new is read.
    WorkingOff,
    /// The links are detached; what the client does about it is read and answered.
    Parting,
    /// Close was sent; its answer is read.
    Leaving,
}

/// Whether a step changed anything that others may go on from.
type Progress = bool;

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    pub(super) fn new(shared: Arc<Shared>, io: S, arrival: Arrival) -> Self {
        let accepted_at = arrival.accepted_at;
        let token = shared.lifecycle.drain_token();
        let patience = shared.options.amqp.open_deadline * TOKEN_PATIENCE;
        Self {
            io,
            conversation: Conversation::new(Arc::clone(&shared), arrival),
            timer: Box::pin(sleep_until(accepted_at)),
            expiry: None,
            drain: Box::pin(token.cancelled_owned()),
            views: next_view(shared.access.subscribe()),
            phase: Phase::Serving,
            token_due: Some(accepted_at + patience),
            parting_due: None,
            write_due: None,
            is_unflushed: false,
            is_broken: false,
            is_stalled: false,
            shared,
        }
    }

    /// Runs until nothing more can be read or written.
    pub(super) async fn until_end(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    /// Takes leave of the socket and of the services.
    pub(super) async fn finish(mut self) -> Summary {
        self.conversation.engine.abandon();
        let limit = if self.phase == Phase::Serving {
            LAST_WORK
        } else {
            LAST_WORK_IN_DRAIN
        };
        let drain = self.shared.lifecycle.drain_token();
        let farewell = timeout(LINGER, part(&mut self.io));
        let work = async {
            tokio::select! {
                done = timeout(limit, self.conversation.wind_down()) => drop(done),
                () = async { drain.cancelled().await; tokio::time::sleep(LAST_WORK_IN_DRAIN).await; } => {}
            }
        };
        let (_, ()) = tokio::join!(farewell, work);
        let cause = if self.is_stalled {
            ConnectionEnd::Unread
        } else {
            self.conversation.cause()
        };
        self.shared.metrics.amqp.connection_ended(cause);
        Summary {
            cause: cause.as_str(),
            actor: self.conversation.grants.actor(),
            messages: self.conversation.accepted_messages,
            is_stranger: !self.conversation.is_admitted,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..STEPS_PER_POLL {
            let now = Instant::now();
            let mut progress = self.conversation.poll_work(cx, now).is_ready();
            progress |= self.poll_input(cx, now);
            self.conversation.advance(now);
            progress |= self.conversation.poll_units(cx).is_ready();
            progress |= self.poll_drain(cx, now);
            progress |= self.poll_views(cx);
            progress |= self.poll_expiry(cx);
            progress |= self.poll_output(cx, now);
            progress |= self.poll_timer(cx);
            if self.is_broken || self.is_over() {
                return Poll::Ready(());
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_over(&mut self) -> bool {
        let engine = &mut self.conversation.engine;
        engine.is_finished() && engine.output().is_empty() && !self.is_unflushed
    }

    /// Whether input is read now.
    fn may_read(&self) -> bool {
        self.conversation.wants_input() && self.phase != Phase::WorkingOff
    }

    fn poll_input(&mut self, cx: &mut Context<'_>, now: Instant) -> Progress {
        if !self.may_read() {
            return false;
        }
        let read = SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => None,
                Poll::Ready(Err(error)) => Some(Err(error)),
                Poll::Ready(Ok(())) => {
                    let bytes = buffer.filled();
                    self.conversation.engine.receive(bytes, now.into_std());
                    Some(Ok(bytes.len()))
                }
            }
        });
        match read {
            None => false,
            Some(Ok(0) | Err(_)) => {
                self.is_broken = true;
                true
            }
            Some(Ok(_)) => true,
        }
    }

    fn poll_output(&mut self, cx: &mut Context<'_>, now: Instant) -> Progress {
        let Ok(progress) = self.poll_write(cx, now) else {
            self.is_broken = true;
            return true;
        };
        progress
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<Progress> {
        let output = self.conversation.engine.output();
        if !output.is_empty() {
            let deadline = now + self.shared.options.amqp.write_deadline;
            let Poll::Ready(written) = Pin::new(&mut self.io).poll_write(cx, output)? else {
                self.write_due.get_or_insert(deadline);
                return Ok(false);
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            let conversation = &mut self.conversation;
            conversation.engine.consume_output(written, now.into_std());
            conversation.on_output_taken();
            self.write_due = None;
            self.is_unflushed = true;
            return Ok(true);
        }
        if self.is_unflushed {
            if Pin::new(&mut self.io).poll_flush(cx)?.is_ready() {
                self.is_unflushed = false;
                self.write_due = None;
                return Ok(true);
            }
            self.write_due
                .get_or_insert(now + self.shared.options.amqp.write_deadline);
        }
        Ok(false)
    }

    /// Takes note that the gateway goes away, and once every message has its answer, detaches the
    /// links: SDKs that hear of it that way clean up and connect again at once, while those of
    /// Node.js that hear of nothing but the Close wait 45 seconds for answers to their detaches.
    fn poll_drain(&mut self, cx: &mut Context<'_>, now: Instant) -> Progress {
        if self.phase == Phase::Serving && self.drain.as_mut().poll(cx).is_ready() {
            self.phase = Phase::WorkingOff;
        }
        if self.phase == Phase::WorkingOff && self.conversation.is_idle() {
            self.phase = Phase::Parting;
            let has_detached = self.conversation.part();
            self.parting_due = Some(if has_detached { now + PARTING } else { now });
            return true;
        }
        false
    }

    fn poll_views(&mut self, cx: &mut Context<'_>) -> Progress {
        let Poll::Ready(views) = self.views.as_mut().poll(cx) else {
            return false;
        };
        self.views = next_view(views);
        self.conversation.on_access_changed();
        true
    }

    fn poll_expiry(&mut self, cx: &mut Context<'_>) -> Progress {
        let Some(due) = self.conversation.next_expiry() else {
            self.expiry = None;
            return false;
        };
        let is_current = self.expiry.as_ref().is_some_and(|(at, _)| *at == due);
        if !is_current {
            let clock = Arc::clone(&self.shared.peers.clock);
            self.expiry = Some((due, Box::pin(async move { clock.sleep_until(due).await })));
        }
        let Some((_, wait)) = &mut self.expiry else {
            return false;
        };
        if wait.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.expiry = None;
        self.conversation.expire_grants(due);
        true
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Progress {
        if self.conversation.is_of_use() {
            self.token_due = None;
        } else if self.token_due.is_none() && self.phase == Phase::Serving {
            // Its tokens have ended and its links are gone: it has this long to show another.
            let patience = self.shared.options.amqp.open_deadline * TOKEN_PATIENCE;
            self.token_due = Some(Instant::now() + patience);
        }
        let engine_due = self.conversation.engine.deadline().map(Instant::from_std);
        let due = [engine_due, self.token_due, self.write_due, self.parting_due]
            .into_iter()
            .flatten()
            .min();
        let Some(due) = due else {
            return false;
        };
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.on_due(due);
        true
    }

    fn on_due(&mut self, now: Instant) {
        if self.write_due.is_some_and(|due| due <= now) {
            self.is_broken = true;
            self.is_stalled = true;
        }
        if self.token_due.is_some_and(|due| due <= now) {
            self.token_due = None;
            self.conversation.give_up_on_stranger(now);
        }
        if self.parting_due.is_some_and(|due| due <= now) {
            self.parting_due = None;
            self.phase = Phase::Leaving;
            self.conversation.leave(now);
        }
        self.conversation.engine.on_deadline(now.into_std());
    }
}
