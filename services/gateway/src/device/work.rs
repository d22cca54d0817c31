//! Starting the calls of a session: what waits becomes one call of its kind.

use std::sync::Arc;

use downlink_domain::event::Event;
use downlink_domain::id::DeviceKey;
use downlink_domain::message::{Settlement, Verdict};
use downlink_domain::presence::LeaseEpoch;
use downlink_ports::{PeerError, ReceiveCall};

use super::desired::First;
use super::running::{Done, Kind};
use super::session::{DeviceSession, Operation, OperationOutcome, StoredSession};
use crate::shared::Shared;

impl<T: Send + 'static> DeviceSession<T> {
    /// Starts every call that has something to do and is not on its way.
    pub(super) fn start_work(&mut self) {
        self.start_settling();
        self.start_storing();
        self.start_catching_up();
        self.start_operation();
        self.start_receiving();
        self.start_lapse_timer();
        self.start_recheck();
    }

    fn start_settling(&mut self) {
        if self.running.has(Kind::Settling) || self.settlements.is_empty() {
            return;
        }
        let settlements = std::mem::take(&mut self.settlements);
        self.window.is_giving_back = gives_back(&settlements);
        let queue = Arc::clone(&self.shared.peers.queue);
        self.running.begin(Kind::Settling, async move {
            let tokens = settlements
                .iter()
                .map(|settlement| settlement.token)
                .collect();
            Done::Settled(tokens, queue.settle(settlements).await)
        });
    }

    pub(super) fn start_storing(&mut self) {
        if self.running.has(Kind::Storing) || self.events.is_empty() {
            return;
        }
        let (tags, events) = match self.telemetry_turns(self.events.len()) {
            0 => return,
            all if all >= self.events.len() => {
                self.event_bytes = 0;
                std::mem::take(&mut self.events).into_iter().unzip()
            }
            some => {
                let (tags, events): (Vec<T>, Vec<Event>) = self.events.drain(..some).unzip();
                let bytes: usize = events.iter().map(|event| event.body.len()).sum();
                self.event_bytes = self.event_bytes.saturating_sub(bytes);
                (tags, events)
            }
        };
        let queue = Arc::clone(&self.shared.peers.queue);
        self.running.begin(Kind::Storing, async move {
            Done::Stored(tags, queue.record_events(events).await)
        });
    }

    fn start_operation(&mut self) {
        if self.running.has(Kind::Operating) || self.desired.is_reading() {
            return;
        }
        let Some((tag, operation, due)) = self.operations.pop_front() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let (key, epoch) = (self.connection.device, self.connection.epoch);
        let mut first = First::Other;
        if let Operation::Subscribe {
            subscriptions,
            session,
        } = &operation
        {
            first = self.desired.subscribing(subscriptions.desired, session);
            self.handle.set_subscriptions(*subscriptions);
        }
        self.running.begin(Kind::Operating, async move {
            if let Some(due) = due {
                due.come().await;
            }
            let outcome = perform(&shared, key, epoch, operation).await;
            // Before the device is answered: what changes from then on, it is told.
            let base = first.read(&shared, key, &outcome).await;
            Done::Ended(tag, outcome, base)
        });
    }

    /// Whether messages may be asked for; whoever may not now is woken when it may.
    pub(super) fn may_receive(&self) -> bool {
        self.handle.subscriptions().c2d && self.shared.standing.may_receive()
    }

    fn start_receiving(&mut self) {
        if !self.may_receive() {
            return;
        }
        // What goes back comes before what is behind it in the queue, so it must be there first.
        if self.window.is_giving_back || gives_back(&self.settlements) {
            return;
        }
        if !self.window.is_about_to_ask() {
            return;
        }
        let most = self.receive_turns(self.shared.options.c2d_window);
        if most == 0 {
            return;
        }
        let Some(room) = self.window.begin_receive() else {
            return;
        };
        let limit = room.min(most);
        let shared = Arc::clone(&self.shared);
        let call = ReceiveCall {
            device: self.connection.device,
            limit,
            lock_duration: None,
        };
        let turn = self.turn.take();
        let handle = Arc::clone(&self.handle);
        self.running.push(async move {
            if let Some(turn) = turn {
                turn.wait().await;
                // Meanwhile a newer connection may have come, or the process been stopped.
                if handle.mailbox.is_closing() || !shared.standing.may_receive() {
                    return Done::Withdrawn;
                }
            }
            let received = shared.peers.queue.receive(vec![call]).await;
            Done::Received(
                limit,
                received.map(|mut lists| lists.pop().unwrap_or_default()),
            )
        });
    }

    /// Has a failed receive made again after a pause.
    pub(super) fn pause_receiving(&mut self) {
        let mut jitter = [0];
        self.shared.peers.ids.fill_random(&mut jitter);
        let Some(pause) = self.window.receive_failed(jitter[0]) else {
            return;
        };
        let clock = Arc::clone(&self.shared.peers.clock);
        let due = clock.now() + pause;
        self.running.push(async move {
            clock.sleep_until(due).await;
            Done::Retry
        });
    }

    /// Wakes the session when the first lock ends, so that the message is asked for again.
    fn start_lapse_timer(&mut self) {
        if self.running.has(Kind::LapseTimer) {
            return;
        }
        let Some(due) = self.window.next_lapse() else {
            return;
        };
        let clock = Arc::clone(&self.shared.peers.clock);
        self.running.begin(Kind::LapseTimer, async move {
            clock.sleep_until(due).await;
            Done::Lapse
        });
    }
}

async fn perform(
    shared: &Shared,
    device: DeviceKey,
    epoch: LeaseEpoch,
    operation: Operation,
) -> OperationOutcome {
    let twins = &shared.peers.twins;
    match operation {
        Operation::GetTwin => OperationOutcome::Twin(Box::new(twins.get_own_twin(device).await)),
        Operation::Report(change) => OperationOutcome::Reported(twins.report(device, change).await),
        Operation::Subscribe {
            subscriptions,
            session,
        } => {
            let entered = shared
                .peers
                .presence
                .subscribe(device, epoch, subscriptions);
            let stored = async {
                match session {
                    StoredSession::Kept => Ok(()),
                    StoredSession::Removed => twins.save_sessions(vec![(device, None)]).await,
                    StoredSession::Written(session) => {
                        twins.save_sessions(vec![(device, Some(session))]).await
                    }
                }
            };
            let (entered, stored) = futures::join!(entered, stored);
            OperationOutcome::Subscribed(stored.and(entered.map_err(PeerError::from)))
        }
    }
}

/// Whether any of these gives its message back to the queue.
fn gives_back(settlements: &[Settlement]) -> bool {
    settlements
        .iter()
        .any(|settlement| match settlement.verdict {
            Verdict::Complete | Verdict::Reject => false,
            Verdict::Abandon | Verdict::ReleaseDelivered | Verdict::ReleaseUndelivered => true,
        })
}
