//! Deadlines of a connection: to open, to stay silent, to be kept alive, to close.

use std::time::{Duration, Instant};

use super::{CloseCause, Engine, Options, State};
use crate::{
    frame,
    performative::{AmqpError, condition},
};

/// Shortest time between keep-alive frames, whatever the peer asks for.
const MIN_KEEP_ALIVE: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Timing {
    /// Deadline of open or of the answer to close.
    phase_ends_at: Option<Instant>,
    last_received_at: Instant,
    last_sent_at: Instant,
    /// Time between frames to the peer, once it has asked for keep-alive.
    keep_alive: Option<Duration>,
    is_watching: bool,
}

impl Timing {
    pub(super) fn new(options: &Options, now: Instant) -> Self {
        Self {
            phase_ends_at: now.checked_add(options.open_timeout),
            last_received_at: now,
            last_sent_at: now,
            keep_alive: None,
            is_watching: false,
        }
    }

    pub(super) fn on_frame_received(&mut self, now: Instant) {
        self.last_received_at = now;
    }

    pub(super) fn on_bytes_sent(&mut self, now: Instant) {
        self.last_sent_at = now;
    }

    /// Starts the idle rules of an open connection (amqp.md §2.2).
    pub(super) fn on_opened(&mut self, options: &Options, peer_idle_ms: Option<u32>) {
        self.phase_ends_at = None;
        self.is_watching = true;
        self.keep_alive = peer_idle_ms.filter(|ms| *ms > 0).map(|ms| {
            let half = Duration::from_millis(u64::from(ms / 2));
            // No client asks for less than seconds; a frame each millisecond is an attack.
            half.max(MIN_KEEP_ALIVE).min(options.max_keep_alive)
        });
    }

    pub(super) fn await_close(&mut self, options: &Options, now: Instant) {
        self.phase_ends_at = now.checked_add(options.close_timeout);
        self.is_watching = false;
        self.keep_alive = None;
    }

    pub(super) fn finish(&mut self) {
        self.phase_ends_at = None;
        self.is_watching = false;
        self.keep_alive = None;
    }

    fn keep_alive_at(&self) -> Option<Instant> {
        self.last_sent_at.checked_add(self.keep_alive?)
    }

    fn silence_ends_at(&self, options: &Options) -> Option<Instant> {
        let limit = options.idle_time_out.saturating_mul(2);
        self.is_watching
            .then(|| self.last_received_at.checked_add(limit))
            .flatten()
    }
}

impl Engine {
    /// Returns when [`Self::on_deadline`] is to be called, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let timing = &self.timing;
        let candidates = [
            timing.phase_ends_at,
            timing.keep_alive_at(),
            timing.silence_ends_at(&self.options),
        ];
        candidates.into_iter().flatten().min()
    }

    /// Does what is due at `now`: sends an empty frame, or gives up on the peer.
    pub fn on_deadline(&mut self, now: Instant) {
        if self.timing.phase_ends_at.is_some_and(|at| at <= now) {
            self.finish(CloseCause::TimedOut, None);
            return;
        }
        if self
            .timing
            .silence_ends_at(&self.options)
            .is_some_and(|at| at <= now)
        {
            let error = AmqpError::new(
                condition::RESOURCE_LIMIT_EXCEEDED,
                "connection was silent for longer than its idle time-out",
            );
            self.close(Some(error), now);
            return;
        }
        if self.state == State::Opened && self.timing.keep_alive_at().is_some_and(|at| at <= now) {
            // Unwritten output already keeps the peer waiting; more frames would only pile up.
            if self.effects.output.pending().is_empty() {
                self.effects.output.bytes.extend(frame::EMPTY_FRAME);
            }
            self.timing.on_bytes_sent(now);
        }
    }
}
