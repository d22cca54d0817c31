//! Changes of desired properties on their way to one connection: in order, and none left out.
//!
//! Changes come one by one as they happen. One that does not follow the last is not told: what is
//! missing before it, and it itself, are read from the twin service. So is what was missed before
//! the connection came, what another node's change has overtaken, and what was shed while the peer
//! took nothing. Nothing is kept here but versions and what one read has brought.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::id::DeviceKey;
use downlink_ports::{MissedChanges, Notify, PeerError, Since};
use tokio::time::timeout;
use tracing::debug;

use super::running::{Done, Kind};
use super::session::{DeviceSession, OperationOutcome, SessionEvent, StoredSession};
use crate::shared::Shared;

/// How long one read may take.
const READ: Duration = Duration::from_secs(10);
/// Wait after the first read that failed; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Times that the wait is doubled.
const MOST_DOUBLINGS: u32 = 5;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The device wants to know of no changes.
    Off,
    /// It is about to; the subscription is not yet in force everywhere.
    Beginning,
    /// What is missing is to be read.
    Due(Since),
    /// It is being read.
    Reading(Since),
    /// It could not be read; it is tried again.
    Paused(Since),
    /// Changes are told as they come.
    Live,
}

/// Where the changes for one device stand.
#[derive(Debug)]
pub(super) struct DesiredFeed {
    phase: Phase,
    /// The version that the device says it has.
    named: Option<u64>,
    /// The newest version that was told or is about to be; `None` before the first.
    told: Option<u64>,
    /// The newest version that the door has taken.
    taken: Option<u64>,
    /// The newest version that was heard of and not told, since the last read began.
    heard: u64,
    ready: VecDeque<(u64, Bytes)>,
    is_held: bool,
    failures: u32,
}

/// What a subscription needs to know before it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// Nothing.
    Other,
    /// The version of desired from which on it counts.
    Read,
    /// The same, noted for the stored session as what the device has been told.
    Noted,
}

impl First {
    /// Reads it, unless the subscription could not be made; without an answer the first change
    /// that happens to come is the first that is told.
    pub(super) async fn read(
        self,
        shared: &Shared,
        device: DeviceKey,
        outcome: &OperationOutcome,
    ) -> Option<u64> {
        let is_made = matches!(outcome, OperationOutcome::Subscribed(Ok(())));
        if self == Self::Other || !is_made {
            return None;
        }
        let twins = &shared.peers.twins;
        let reading = async {
            let version = twins.missed_changes(device, Since::Now).await?.version;
            if self == Self::Noted {
                twins.note_told(vec![(device, version)]).await?;
            }
            Ok::<_, PeerError>(version)
        };
        match timeout(READ, reading).await {
            Ok(Ok(version)) => Some(version),
            Ok(Err(error)) => {
                debug!(%error, "the version of a twin cannot be read now");
                None
            }
            Err(_) => None,
        }
    }
}

impl DesiredFeed {
    pub(super) fn new(is_wanted: bool) -> Self {
        Self {
            phase: if is_wanted { Phase::Live } else { Phase::Off },
            named: None,
            told: None,
            taken: None,
            heard: 0,
            ready: VecDeque::new(),
            is_held: false,
            failures: 0,
        }
    }

    /// The subscription is about to change; answers whether the version from which on it counts is to be read.
    pub(super) fn subscribing(&mut self, is_wanted: bool, session: &StoredSession) -> First {
        if !is_wanted {
            *self = Self {
                is_held: self.is_held,
                ..Self::new(false)
            };
            return First::Other;
        }
        let is_first = self.phase == Phase::Off;
        if is_first || self.named.is_some() {
            self.phase = Phase::Beginning;
            self.ready = VecDeque::new();
        }
        match session {
            _ if !is_first || self.named.is_some() => First::Other,
            StoredSession::Written(_) => First::Noted,
            StoredSession::Kept | StoredSession::Removed => First::Read,
        }
    }

    /// The subscription is in force, from version `base` on if that is known, or could not be.
    pub(super) fn subscribed(&mut self, is_in_force: bool, base: Option<u64>) {
        if self.phase != Phase::Beginning {
            return;
        }
        let named = self.named.take();
        self.told = named.or(base);
        self.taken = self.told;
        self.phase = match named {
            _ if !is_in_force => Phase::Off,
            Some(version) => Phase::Due(Since::Version(version)),
            None => Phase::Live,
        };
        if base.is_some() {
            self.fill_gap();
        }
    }

    /// Takes a change that happened; returns it when it is to be told now.
    fn on_change(&mut self, change: Notify) -> Option<Notify> {
        match (self.phase, self.told) {
            (Phase::Off, _) => None,
            (Phase::Live, Some(told)) if change.version <= told => None,
            (Phase::Live, told)
                if !self.is_held && told.is_none_or(|told| change.version == told + 1) =>
            {
                self.told = Some(change.version);
                self.taken = self.told;
                Some(change)
            }
            _ => {
                self.heard = self.heard.max(change.version);
                self.fill_gap();
                None
            }
        }
    }

    /// Has what was heard of read, if changes are told as they come and may be.
    fn fill_gap(&mut self) {
        let Some(told) = self.told.filter(|told| self.heard > *told) else {
            return;
        };
        if self.phase == Phase::Live && !self.is_held {
            self.phase = Phase::Due(Since::Version(told));
        }
    }

    fn begin_read(&mut self) -> Option<Since> {
        let Phase::Due(since) = self.phase else {
            return None;
        };
        self.phase = Phase::Reading(since);
        self.heard = 0;
        Some(since)
    }

    /// Takes what a read has brought; a failed one is to be tried again when this answers so.
    fn end_read(&mut self, read: Result<MissedChanges, PeerError>) -> bool {
        let Phase::Reading(since) = self.phase else {
            // The device has changed its mind meanwhile.
            return false;
        };
        match read {
            Ok(missed) => {
                self.failures = 0;
                self.told = Some(missed.version);
                if missed.changes.is_empty() && self.ready.is_empty() {
                    self.taken = self.told;
                }
                self.ready.extend(missed.changes);
                self.phase = Phase::Live;
                self.fill_gap();
                false
            }
            Err(error) if error.code() == ErrorCode::DeviceNotFound => {
                // The connection is about to be told so.
                self.phase = Phase::Live;
                false
            }
            Err(error) => {
                debug!(%error, "missed changes of a twin cannot be read now");
                self.failures = self.failures.saturating_add(1);
                self.phase = Phase::Paused(since);
                true
            }
        }
    }

    fn pause_ended(&mut self) {
        if let Phase::Paused(since) = self.phase {
            self.phase = Phase::Due(since);
        }
    }

    /// Tells whether a read is on its way or about to be: the device's own requests wait for it,
    /// so that it does not take older values for newer ones.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.phase, Phase::Due(_) | Phase::Reading(_))
    }

    /// The next change that a read has brought.
    pub(super) fn next(&mut self, device: DeviceKey) -> Option<Notify> {
        if self.is_held {
            return None;
        }
        let (version, body) = self.ready.pop_front()?;
        self.taken = Some(version);
        Some(Notify {
            device,
            version,
            body,
        })
    }
}

impl<T: Send + 'static> DeviceSession<T> {
    /// Notes the version of desired that the device says it has; it is told what came after it
    /// once the subscription that follows is in force.
    pub fn name_desired(&mut self, version: u64) {
        self.desired.named = Some(version);
    }

    /// Has the device of a stored session told what it missed since.
    pub fn resume_desired(&mut self) {
        self.desired.phase = Phase::Due(Since::LastTold);
    }

    /// Stops changes of desired while the peer takes none, or lets them go again: what came
    /// meanwhile is read then.
    pub fn hold_desired(&mut self, is_held: bool) {
        self.desired.is_held = is_held;
        self.desired.fill_gap();
    }

    /// The newest version of desired that went to the door; `None` when there is none.
    pub fn taken_desired(&self) -> Option<u64> {
        self.desired.taken
    }

    /// Returns what writes down which version the device has been told, for its stored session.
    pub fn note_desired(&self, version: u64) -> impl Future<Output = ()> + Send + use<T> {
        let twins = Arc::clone(&self.shared.peers.twins);
        let device = self.connection.device;
        async move {
            let noting = twins.note_told(vec![(device, version)]);
            match timeout(READ, noting).await {
                Ok(Ok(())) => {}
                // The device is told once more.
                Ok(Err(error)) => debug!(%error, "what a device was told cannot be noted"),
                Err(_) => debug!("what a device was told was not noted in time"),
            }
        }
    }

    pub(super) fn on_desired(&mut self, change: Notify) -> Option<Notify> {
        self.desired.on_change(change)
    }

    pub(super) fn start_catching_up(&mut self) {
        if self.running.has(Kind::CatchingUp) {
            return;
        }
        let Some(since) = self.desired.begin_read() else {
            return;
        };
        let twins = Arc::clone(&self.shared.peers.twins);
        let device = self.connection.device;
        self.running.begin(Kind::CatchingUp, async move {
            let late = PeerError::DeadlineExceeded { service: "twin" };
            let read = timeout(READ, twins.missed_changes(device, since)).await;
            Done::CaughtUp(Box::new(read.unwrap_or(Err(late))))
        });
    }

    pub(super) fn on_caught_up(
        &mut self,
        read: Result<MissedChanges, PeerError>,
    ) -> Option<SessionEvent<T>> {
        if self.desired.end_read(read) {
            self.pause_catching_up();
        }
        let change = self.desired.next(self.connection.device);
        change.map(SessionEvent::Desired)
    }

    fn pause_catching_up(&mut self) {
        let peers = &self.shared.peers;
        let mut jitter = [0];
        peers.ids.fill_random(&mut jitter);
        let doublings = self.desired.failures.saturating_sub(1).min(MOST_DOUBLINGS);
        let full = FIRST_PAUSE * 2_u32.pow(doublings);
        let pause = full / 2 + full * u32::from(jitter[0]) / 512;
        let clock = Arc::clone(&peers.clock);
        let due = clock.now() + pause;
        self.running.push(async move {
            clock.sleep_until(due).await;
            Done::CatchUp
        });
    }

    pub(super) fn on_catch_up_due(&mut self) -> Option<SessionEvent<T>> {
        self.desired.pause_ended();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(version: u64) -> Notify {
        Notify {
            device: DeviceKey(7),
            version,
            body: Bytes::new(),
        }
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "tests hand it over as what a read brought"
    )]
    fn missed(version: u64, changes: &[u64]) -> Result<MissedChanges, PeerError> {
        let changes = changes.iter().map(|version| (*version, Bytes::new()));
        Ok(MissedChanges {
            version,
            changes: changes.collect(),
        })
    }

    fn told(feed: &mut DesiredFeed) -> Vec<u64> {
        std::iter::from_fn(|| feed.next(DeviceKey(7)))
            .map(|change| change.version)
            .collect()
    }

    fn subscribed(named: Option<u64>) -> DesiredFeed {
        let mut feed = DesiredFeed::new(false);
        feed.named = named;
        feed.subscribing(true, &StoredSession::Kept);
        feed.subscribed(true, None);
        feed
    }

    /// A feed whose device has version 5 and is told what follows.
    fn live() -> DesiredFeed {
        let mut feed = DesiredFeed::new(false);
        assert_eq!(feed.subscribing(true, &StoredSession::Kept), First::Read);
        feed.subscribed(true, Some(5));
        assert_eq!(feed.begin_read(), None);
        assert_eq!(feed.taken, Some(5));
        feed
    }

    #[test]
    fn changes_that_follow_each_other_are_told_as_they_come() {
        let mut feed = live();
        for version in [6, 7, 8] {
            assert_eq!(feed.on_change(change(version)), Some(change(version)));
        }
        assert_eq!(feed.on_change(change(7)), None, "it was told");
        assert_eq!(feed.begin_read(), None);
        assert_eq!(feed.taken, Some(8));
    }

    #[test]
    fn what_changes_while_a_subscription_begins_is_told_once_it_is_in_force() {
        let mut feed = DesiredFeed::new(false);
        let session = StoredSession::Written(Bytes::new());
        assert_eq!(feed.subscribing(true, &session), First::Noted);
        assert_eq!(feed.on_change(change(6)), None);
        feed.subscribed(true, Some(5));
        assert_eq!(feed.begin_read(), Some(Since::Version(5)));
        // Nothing is known of where it began: what happens to come first is told.
        let mut feed = DesiredFeed::new(false);
        feed.subscribing(true, &session);
        feed.subscribed(true, None);
        assert_eq!(feed.on_change(change(6)), Some(change(6)));
    }

    #[test]
    fn a_gap_is_read_and_told_in_order() {
        let mut feed = live();
        assert_eq!(feed.on_change(change(8)), None);
        assert!(feed.is_reading());
        assert_eq!(feed.begin_read(), Some(Since::Version(5)));
        // Overtaken ones that come late change nothing, newer ones are read after.
        assert_eq!(feed.on_change(change(7)), None);
        assert_eq!(feed.on_change(change(9)), None);
        assert!(!feed.end_read(missed(8, &[6, 7, 8])));
        assert_eq!(told(&mut feed), [6, 7, 8]);
        assert_eq!(feed.begin_read(), Some(Since::Version(8)));
        assert!(!feed.end_read(missed(9, &[9])));
        assert_eq!(told(&mut feed), [9]);
        assert!(!feed.is_reading());
        assert_eq!(feed.on_change(change(10)), Some(change(10)));
    }

    #[test]
    fn a_device_that_names_its_version_is_told_what_followed_before_anything_newer() {
        let mut feed = DesiredFeed::new(false);
        feed.named = Some(3);
        assert_eq!(feed.subscribing(true, &StoredSession::Kept), First::Other);
        assert_eq!(feed.on_change(change(6)), None, "older ones come first");
        feed.subscribed(true, None);
        assert_eq!(feed.begin_read(), Some(Since::Version(3)));
        assert!(!feed.end_read(missed(6, &[4, 5, 6])));
        assert_eq!(feed.on_change(change(6)), None);
        assert_eq!(feed.taken, Some(3));
        assert_eq!(told(&mut feed), [4, 5, 6]);
        assert_eq!(feed.taken, Some(6));
    }

    #[test]
    fn a_version_can_be_named_again_and_no_version_changes_nothing() {
        let mut feed = live();
        assert_eq!(feed.subscribing(true, &StoredSession::Kept), First::Other);
        feed.subscribed(true, None);
        assert_eq!(feed.begin_read(), None);
        feed.named = Some(2);
        feed.subscribing(true, &StoredSession::Kept);
        feed.subscribed(true, None);
        assert_eq!(feed.begin_read(), Some(Since::Version(2)));
    }

    #[test]
    fn what_came_while_the_peer_took_nothing_is_read_when_it_does() {
        let mut feed = live();
        feed.is_held = true;
        assert_eq!(feed.on_change(change(6)), None);
        assert_eq!(feed.on_change(change(7)), None);
        assert_eq!(feed.begin_read(), None);
        feed.is_held = false;
        feed.fill_gap();
        assert_eq!(feed.begin_read(), Some(Since::Version(5)));
        assert!(!feed.end_read(missed(7, &[6, 7])));
        feed.is_held = true;
        assert_eq!(told(&mut feed), [0; 0]);
        feed.is_held = false;
        assert_eq!(told(&mut feed), [6, 7]);
    }

    #[test]
    fn a_read_that_fails_is_tried_again_and_blocks_nothing_meanwhile() {
        let mut feed = subscribed(Some(3));
        feed.begin_read();
        assert!(feed.end_read(Err(PeerError::Unavailable { service: "twin" })));
        assert!(!feed.is_reading());
        assert_eq!(feed.on_change(change(9)), None);
        feed.pause_ended();
        assert_eq!(feed.begin_read(), Some(Since::Version(3)));
    }

    #[test]
    fn nothing_is_told_after_the_device_wants_no_more() {
        let mut feed = live();
        feed.on_change(change(8));
        feed.begin_read();
        feed.subscribing(false, &StoredSession::Kept);
        assert!(!feed.end_read(missed(8, &[6, 7, 8])));
        assert_eq!(told(&mut feed), [0; 0]);
        assert_eq!(feed.on_change(change(9)), None);
        assert_eq!(feed.taken, None);
    }

    #[test]
    fn a_subscription_that_failed_tells_nothing() {
        let mut feed = DesiredFeed::new(false);
        feed.subscribing(true, &StoredSession::Kept);
        feed.subscribed(false, None);
        assert_eq!(feed.begin_read(), None);
        assert_eq!(feed.on_change(change(2)), None);
    }
}
