//! What was sent, taken and reported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use downlink_proto::api::v1::FeedbackStatus;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Everything that happened to the messages of one run. Bounded by the run's length.
#[derive(Debug, Default)]
pub struct Ledger {
    books: Mutex<Books>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Books {
    /// Ids whose acceptance was acknowledged.
    accepted: BTreeSet<String>,
    /// Ids whose outcome the sender does not know.
    unknown: BTreeSet<String>,
    /// Sends that were refused for certain.
    refused: u64,
    /// Ids in the order in which devices got them, repeats included, by device.
    taken: BTreeMap<String, Vec<String>>,
    /// Ids of deliveries that the hub itself marked as repeated: an earlier one may never have
    /// reached the device.
    marked: BTreeSet<String>,
    /// Ids that a device has abandoned, each once.
    abandoned: BTreeSet<String>,
    /// Outcomes that were reported, by id.
    reported: BTreeMap<String, Vec<FeedbackStatus>>,
    /// Connections of devices that were lost.
    reconnects: u64,
}

/// The count at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Ids of messages whose acceptance was acknowledged.
    pub accepted: BTreeSet<String>,
    /// Sends whose outcome the sender never learned.
    pub unknown: usize,
    /// Sends that were refused for certain.
    pub refused: u64,
    /// Deliveries beyond the first of a message.
    pub repeats: usize,
    /// Messages of which a delivery was marked as repeated.
    pub marked: usize,
    /// Ids of messages that a device has abandoned once: each comes again.
    pub abandoned: BTreeSet<String>,
    /// Connections of devices that were lost.
    pub reconnects: u64,
    /// Accepted messages that no device got.
    pub lost: Vec<String>,
    /// Messages that were reported with two different outcomes, or with another one than success.
    pub mistold: Vec<String>,
    /// Messages never delivered again that came after a later one of that kind.
    pub out_of_order: Vec<String>,
    /// Messages that a device got though nobody sent them.
    pub invented: Vec<String>,
    /// Messages that the hub still counts as waiting.
    pub waiting: u64,
}

impl Verdict {
    /// Checks every promise.
    ///
    /// # Panics
    /// When one was broken.
    #[track_caller]
    pub fn assert_kept(&self) {
        assert!(!self.accepted.is_empty(), "nothing was accepted: {self}");
        assert_eq!(self.lost, Vec::<String>::new(), "lost: {self}");
        assert_eq!(
            self.mistold,
            Vec::<String>::new(),
            "reported wrongly: {self}"
        );
        assert_eq!(
            self.out_of_order,
            Vec::<String>::new(),
            "out of order: {self}"
        );
        assert_eq!(self.invented, Vec::<String>::new(), "invented: {self}");
        assert_eq!(self.waiting, 0, "still waiting: {self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} accepted, {} of unknown outcome, {} refused, {} repeats, {} marked, {} abandoned, {} reconnects, {} lost, {} reported wrongly, \
             {} out of order, {} invented, {} waiting",
            self.accepted.len(),
            self.unknown,
            self.refused,
            self.repeats,
            self.marked,
            self.abandoned.len(),
            self.reconnects,
            self.lost.len(),
            self.mistold.len(),
            self.out_of_order.len(),
            self.invented.len(),
            self.waiting
        )
    }
}

impl Ledger {
    pub(super) fn accept(&self, id: String) {
        self.note(|books| {
            books.accepted.insert(id);
        });
    }

    pub(super) fn lose_sight_of(&self, id: String) {
        self.note(|books| {
            books.unknown.insert(id);
        });
    }

    pub(super) fn refuse(&self) {
        self.note(|books| books.refused += 1);
    }

    pub(super) fn take(&self, device: &str, id: String, is_marked: bool) {
        self.note(|books| {
            if is_marked {
                books.marked.insert(id.clone());
            }
            books.taken.entry(device.to_owned()).or_default().push(id);
        });
    }

    /// Notes that a device abandons a message; false when one has done so before.
    pub(super) fn abandon(&self, id: String) -> bool {
        self.books.lock().abandoned.insert(id)
    }

    pub(super) fn report(&self, id: String, status: FeedbackStatus) {
        self.note(|books| books.reported.entry(id).or_default().push(status));
    }

    pub(super) fn reconnect(&self) {
        self.note(|books| books.reconnects += 1);
    }

    fn note(&self, change: impl FnOnce(&mut Books)) {
        change(&mut self.books.lock());
        self.news.notify_waiters();
    }

    /// The next change after this call.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + '_ {
        let mut news = Box::pin(self.news.notified());
        news.as_mut().enable();
        news
    }

    /// Deliveries that a device got.
    pub(super) fn taken(&self, device: &str) -> usize {
        self.books.lock().taken.get(device).map_or(0, Vec::len)
    }

    /// Accepted messages that were not reported yet.
    pub(super) fn without_end(&self) -> Vec<String> {
        let books = self.books.lock();
        let open = books
            .accepted
            .iter()
            .filter(|id| !books.reported.contains_key(*id));
        open.cloned().collect()
    }

    /// Counts so far.
    pub fn summary(&self) -> String {
        let books = self.books.lock();
        let taken: usize = books.taken.values().map(Vec::len).sum();
        format!(
            "{} accepted, {} of unknown outcome, {} refused, {taken} deliveries, {} reported, {} reconnects",
            books.accepted.len(),
            books.unknown.len(),
            books.refused,
            books.reported.len(),
            books.reconnects
        )
    }

    pub(super) fn verdict(&self, waiting: u64) -> Verdict {
        let books = self.books.lock();
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for id in books.taken.values().flatten() {
            *times.entry(id).or_default() += 1;
        }
        let lost = books
            .accepted
            .iter()
            .filter(|id| !times.contains_key(id.as_str()));
        let known = |id: &str| books.accepted.contains(id) || books.unknown.contains(id);
        let invented = times.keys().filter(|id| !known(id));
        let mistold = books.reported.iter().filter(|(_, statuses)| {
            statuses
                .iter()
                .any(|status| *status != FeedbackStatus::Success)
        });
        let mut out_of_order = Vec::new();
        for ids in books.taken.values() {
            let is_first = |id: &&String| {
                times[id.as_str()] == 1
                    && !books.marked.contains(*id)
                    && !books.abandoned.contains(*id)
            };
            let once = ids.iter().filter(is_first);
            let mut highest = "";
            for id in once {
                // Ids of one device are of one length and count up.
                if id.as_str() < highest {
                    out_of_order.push(id.clone());
                } else {
                    highest = id;
                }
            }
        }
        Verdict {
            accepted: books.accepted.clone(),
            unknown: books.unknown.len(),
            refused: books.refused,
            repeats: times.values().map(|times| times - 1).sum(),
            marked: books.marked.len(),
            abandoned: books.abandoned.clone(),
            reconnects: books.reconnects,
            lost: lost.cloned().collect(),
            mistold: mistold.map(|(id, _)| id.clone()).collect(),
            out_of_order,
            invented: invented.map(|id| (*id).to_owned()).collect(),
            waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(accepted: &[&str], taken: &[&str]) -> Ledger {
        let ledger = Ledger::default();
        for id in accepted {
            ledger.accept((*id).to_owned());
        }
        for id in taken {
            ledger.take("d", (*id).to_owned(), false);
        }
        ledger
    }

    #[test]
    fn a_lost_an_invented_and_a_displaced_message_are_named() {
        let verdict = ledger(&["1", "2", "3"], &["2", "1", "9"]).verdict(0);
        assert_eq!(verdict.lost, ["3"]);
        assert_eq!(verdict.invented, ["9"]);
        assert_eq!(verdict.out_of_order, ["1"]);
    }

    #[test]
    fn a_message_that_was_delivered_again_may_come_in_any_place() {
        let verdict = ledger(&["1", "2"], &["1", "2", "1"]).verdict(0);
        assert_eq!(verdict.out_of_order, Vec::<String>::new());
        assert_eq!(verdict.repeats, 1);
        verdict.assert_kept();
    }

    #[test]
    fn a_delivery_that_is_marked_as_repeated_may_come_in_any_place() {
        let ledger = ledger(&["1", "2"], &["2"]);
        ledger.take("d", "1".to_owned(), true);
        assert_eq!(ledger.verdict(0).out_of_order, Vec::<String>::new());
    }

    #[test]
    fn an_outcome_other_than_success_is_named() {
        let ledger = ledger(&["1"], &["1"]);
        ledger.report("1".to_owned(), FeedbackStatus::Success);
        assert_eq!(ledger.verdict(0).mistold, Vec::<String>::new());
        ledger.report("1".to_owned(), FeedbackStatus::Expired);
        assert_eq!(ledger.verdict(0).mistold, ["1"]);
    }
}
